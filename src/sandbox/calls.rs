//! System calls, by seccomp: four filters, of which the strictest answer counts. See seccomp(2).
//!
//! | filter | refuses | with |
//! |---|---|---|
//! | listed | every call that is not in [`ALLOWED`] or added for what the worker needs | ENOSYS, so that libraries fall back |
//! | denied | [`PATHS`], executable memory, handling SIGSYS | EACCES |
//! | threads | `clone3`, whose flags no filter can see | ENOSYS: libc falls back to `clone` |
//! | deadly | [`DEADLY`], new processes, signals to others, for engines without a camera [`NETWORK`] | SIGSYS |

use rustix::io as errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};
use std::collections::BTreeMap;

use super::{Confinement, Deadly, Needs, Refusals, SystemCall};

/// Calls that need no look at their arguments. Some architectures lack some of them.
const ALLOWED: &[&str] = &[
    // Bytes over what is open.
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "shutdown",
    "close",
    "dup",
    "lseek",
    "fstat",
    // Waiting.
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "restart_syscall",
    // Memory; mmap and mprotect without execution.
    "mmap",
    "mprotect",
    "munmap",
    "mremap",
    "madvise",
    "brk",
    "mincore",
    "membarrier",
    // Threads.
    "clone",
    "futex",
    "futex_waitv",
    "set_robust_list",
    "rseq",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getscheduler",
    "sched_getparam",
    "getcpu",
    "get_mempolicy",
    "gettid",
    "getpid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "tgkill",
    "exit",
    "exit_group",
    "arch_prctl",
    // Signals.
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    // Time and the machine.
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "uname",
    "sysinfo",
    "getrandom",
];

/// Calls that name a path. Where a setting makes files readable, those that only read are left to Landlock.
const PATHS: &[&str] = &[
    "creat",
    "openat2",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "mknod",
    "mknodat",
    "chmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "lchown",
    "fchownat",
    "truncate",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "chdir",
    "fchdir",
    "setxattr",
    "lsetxattr",
    "removexattr",
    "lremovexattr",
    "statfs",
];
/// Those that only read; of the opens, those for reading.
const READING: &[&str] = &[
    "open",
    "openat",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents64",
];

/// The network: deadly, but for who speaks with a camera.
const NETWORK: &[&str] = &["socket", "connect", "bind"];
/// What that takes, whatever the arguments.
const PEER: &[&str] = &["connect", "getsockname", "getpeername", "getsockopt", "setsockopt"];
/// What it takes to let somebody in at a socket that listens.
const LETTING_IN: &[&str] = &["accept", "accept4"];

/// What no honest worker does.
const DEADLY: &[&str] = &[
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "kill",
    "tkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "open_by_handle_at",
    "name_to_handle_at",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "keyctl",
    "add_key",
    "request_key",
    "listen",
    "accept",
    "accept4",
    "socketpair",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "setuid",
    "setgid",
    "setresuid",
    "setresgid",
    "setreuid",
    "setregid",
    "setgroups",
    "capset",
    "personality",
];

const PROT_EXEC: u64 = 4;
const CLONE_THREAD: u64 = 0x1_0000;
const AT_EMPTY_PATH: u64 = 0x1000;
const SIGSYS: u64 = 31;
/// `O_WRONLY`, `O_RDWR`, `O_CREAT`, `O_TRUNC`: any of them means writing.
const WRITING: [u64; 4] = [1, 2, 0o100, 0o1000];
/// `F_DUPFD`, `F_GETFD`, `F_SETFD`, `F_GETFL`, `F_SETFL`, `F_DUPFD_CLOEXEC`. `F_SETOWN` would send signals.
const DESCRIPTOR_FLAGS: [u64; 6] = [0, 1, 2, 3, 4, 1030];
/// `PR_SET_NAME`, `PR_GET_NAME`, `PR_SET_VMA` with which malloc names its memory.
const NAMES: [u64; 3] = [15, 16, 0x5356_4d41];
/// `AF_INET` and `AF_INET6`.
const INTERNET: [u64; 2] = [2, 10];
/// What of a socket's type is no flag, and `SOCK_STREAM`.
const SOCKET_TYPE: u64 = 0xf;
const STREAM: u64 = 1;
/// `FIONBIO`, `FIONREAD`.
const SOCKET_IOCTLS: [u64; 2] = [0x5421, 0x541b];
/// The type byte of every `ioctl` of DRM, `DRM_IOCTL_BASE`, where `_IOC` puts it.
const DRM_TYPE: u64 = 0x6400;
const TYPE_MASK: u64 = 0xff00;

/// What is said to a refused call that leaves the process alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// EACCES: a path or a right.
    Denied,
    /// ENOSYS: as a kernel says that does not know the call.
    Unknown,
    /// The process ends.
    End,
}

/// How a call is answered that a filter has stopped.
pub fn answer(call: SystemCall) -> Answer {
    let is_in = |names: &[&str]| call.name().is_some_and(|name| names.contains(&name));
    if is_in(PATHS) || is_in(READING) || is_in(&["mmap", "mprotect", "rt_sigaction"]) {
        Answer::Denied
    } else if is_in(DEADLY) || is_in(NETWORK) || is_in(&["clone", "tgkill"]) {
        Answer::End
    } else {
        Answer::Unknown
    }
}

/// System calls with what their arguments must be, any of the rules; no rule: whatever they are.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Made<T> = Result<T, BackendError>;

/// Puts the filters on all threads.
///
/// # Errors
/// What the kernel says.
pub(super) fn restrict(confinement: &Confinement, needs: Needs, deadly: Deadly) -> Result<(), String> {
    let programs = programs(confinement, needs, deadly).map_err(|error| error.to_string())?;
    programs.iter().try_for_each(|program| apply_filter_all_threads(program).map_err(|error| error.to_string()))
}

fn programs(confinement: &Confinement, needs: Needs, deadly: Deadly) -> Made<Vec<BpfProgram>> {
    use SeccompAction::{Allow, Errno, KillProcess, Trap};
    const UNKNOWN: SeccompAction = Errno(errno::Errno::NOSYS.raw_os_error().unsigned_abs());
    const DENIED: SeccompAction = Errno(errno::Errno::ACCESS.raw_os_error().unsigned_abs());
    let (unknown, refused) = match confinement.refusals {
        Refusals::Silent => (UNKNOWN, DENIED),
        Refusals::Reported => (Trap, Trap),
    };
    let end = match deadly {
        Deadly::Kill => KillProcess,
        Deadly::Signal => Trap,
    };
    let mut listed = listed(confinement, needs)?;
    // A new thread is made with all signals blocked: never a signal for that.
    let mut stopping = [(deadly_calls(needs)?, end), (named(&["clone3"]), UNKNOWN), (denied(confinement)?, refused)];
    for (rules, _) in &mut stopping {
        rules.retain(|call, _| !confinement.system_calls.iter().any(|allowed| allowed.number() == *call));
        // Each call is stopped by one filter only.
        for call in rules.keys() {
            listed.entry(*call).or_default();
        }
    }
    listed.extend(confinement.system_calls.iter().map(|call| (call.number(), vec![])));
    let compile = |rules: Rules, mismatch: SeccompAction, matched: SeccompAction| {
        SeccompFilter::new(rules, mismatch, matched, std::env::consts::ARCH.try_into()?)?.try_into()
    };
    let stopping = stopping.into_iter().map(|(rules, action)| compile(rules, Allow, action));
    // The last one stops the call that puts on filters.
    stopping.chain(std::iter::once_with(|| compile(listed, unknown, Allow))).collect()
}

/// What the last filter lets pass.
fn listed(confinement: &Confinement, needs: Needs) -> Made<Rules> {
    let mut rules = named(ALLOWED);
    add(&mut rules, "fcntl", one_of(1, &DESCRIPTOR_FLAGS)?);
    add(&mut rules, "prctl", one_of(0, &NAMES)?);
    // Asking for limits is part of making a thread; setting them is not.
    add(&mut rules, "prlimit64", vec![rule(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?]);
    if !confinement.readable.is_empty() {
        rules.extend(named(READING));
    }
    match needs {
        Needs::Nothing => {}
        Needs::Device => add(&mut rules, "ioctl", vec![masked(1, TYPE_MASK, DRM_TYPE)?]),
        Needs::Camera { .. } | Needs::Tunnel { .. } => {
            rules.extend(named(PEER));
            rules.extend(named(&["bind"]));
            add(&mut rules, "socket", one_of(0, &INTERNET)?);
            add(&mut rules, "ioctl", one_of(1, &SOCKET_IOCTLS)?);
        }
        Needs::Tunnelled { .. } => {
            rules.extend(named(PEER));
            add(&mut rules, "socket", vec![stream_socket()?]);
        }
    }
    if let Needs::Tunnel { .. } = needs {
        rules.extend(named(LETTING_IN));
    }
    Ok(rules)
}

/// What is stopped with EACCES.
fn denied(confinement: &Confinement) -> Made<Rules> {
    let mut rules = named(PATHS);
    if confinement.readable.is_empty() {
        rules.extend(named(READING));
        // The fstat of some libcs has an empty path.
        add(&mut rules, "newfstatat", vec![masked(3, AT_EMPTY_PATH, 0)?]);
    } else {
        let writes = |index| WRITING.into_iter().map(|flag| masked(index, flag, flag)).collect::<Made<Vec<_>>>();
        add(&mut rules, "open", writes(1)?);
        add(&mut rules, "openat", writes(2)?);
    }
    for call in ["mmap", "mprotect"] {
        add(&mut rules, call, vec![masked(2, PROT_EXEC, PROT_EXEC)?]);
    }
    // Whoever handles SIGSYS outlives the deadly filter.
    add(&mut rules, "rt_sigaction", one_of(0, &[SIGSYS])?);
    Ok(rules)
}

/// What is stopped with the process.
fn deadly_calls(needs: Needs) -> Made<Rules> {
    let mut rules = named(DEADLY);
    if needs.port().is_none() {
        rules.extend(named(NETWORK));
    }
    if let Needs::Tunnel { .. } = needs {
        let letting_in = named(LETTING_IN);
        rules.retain(|call, _| !letting_in.contains_key(call));
    }
    // Without CLONE_THREAD it makes a process.
    add(&mut rules, "clone", vec![masked(0, CLONE_THREAD, 0)?]);
    let own = std::process::id().into();
    add(&mut rules, "tgkill", vec![rule(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own)?]);
    Ok(rules)
}

/// Rules for calls whatever their arguments. Names that this architecture lacks are left out.
fn named(names: &[&str]) -> Rules {
    let calls = names.iter().filter_map(|name| name.parse::<SystemCall>().ok());
    calls.map(|call| (call.number(), vec![])).collect()
}

fn add(rules: &mut Rules, name: &str, any_of: Vec<SeccompRule>) {
    if let Ok(call) = name.parse::<SystemCall>() {
        rules.insert(call.number(), any_of);
    }
}

/// `socket` for TCP over IPv4.
fn stream_socket() -> Made<SeccompRule> {
    let condition = |argument, mask, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
    };
    SeccompRule::new(vec![condition(0, u64::from(u32::MAX), INTERNET[0])?, condition(1, SOCKET_TYPE, STREAM)?])
}

fn one_of(argument: u8, values: &[u64]) -> Made<Vec<SeccompRule>> {
    values.iter().map(|value| rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)).collect()
}

fn masked(argument: u8, mask: u64, value: u64) -> Made<SeccompRule> {
    rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

/// `argument` counts from 0. The kernel takes only the lower half of an `int`, so only that is looked at.
fn rule(argument: u8, length: SeccompCmpArgLen, operation: SeccompCmpOp, value: u64) -> Made<SeccompRule> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operation, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    #[cfg(target_arch = "x86_64")] // which has them all
    fn every_name_is_one_of_a_call_and_stands_once() {
        let mut seen = HashSet::new();
        for name in [ALLOWED, PATHS, READING, NETWORK, DEADLY].concat() {
            assert!(name.parse::<SystemCall>().is_ok(), "{name}");
            assert!(seen.insert(name), "{name} stands twice");
        }
    }

    #[test]
    fn filters_are_made_for_every_worker() {
        let readable = Confinement { readable: vec!["/etc/drirc".into()], ..Confinement::default() };
        for confinement in [Confinement::default(), readable] {
            let port = 554;
            let networked = [Needs::Camera { port }, Needs::Tunnel { port }, Needs::Tunnelled { port }];
            for needs in [Needs::Nothing, Needs::Device].into_iter().chain(networked) {
                let made = programs(&confinement, needs, Deadly::Kill).unwrap();
                assert!(made.iter().all(|program| (10..4096).contains(&program.len())), "{needs:?}");
            }
        }
    }

    #[test]
    fn a_stopped_call_is_answered_by_its_kind() {
        let answer = |name: &str| answer(name.parse().unwrap());
        assert_eq!(
            (answer("openat"), answer("memfd_create"), answer("execve")),
            (Answer::Denied, Answer::Unknown, Answer::End)
        );
        assert_eq!((answer("socket"), answer("clone"), answer("mmap")), (Answer::End, Answer::End, Answer::Denied));
    }
}
