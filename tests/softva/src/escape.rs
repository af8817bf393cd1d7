//! Attempts to do what a sandbox forbids, by the bare system calls.

use std::ffi::CStr;
use std::io;
use std::ptr;

use libc::c_int;

use crate::control::{Action, Escape, Outcome};
use crate::page::Page;

/// Attempts the escapes that a test asked for, and reports what became of each.
pub(crate) fn attempt_wanted(page: &Page) {
    for escape in page.take_wanted_escapes() {
        // Stands if the attempt is the last thing that this process does.
        page.report(escape, Outcome::Killed);
        page.report(escape, attempt(escape));
    }
}

fn attempt(escape: Escape) -> Outcome {
    match escape {
        Escape::OpenFile => open(c"/etc/passwd", libc::O_RDONLY),
        Escape::OpenOtherNode => open(c"/dev/dri/card3", libc::O_RDWR),
        Escape::Socket => closing(socket()),
        Escape::Connect => connect(),
        Escape::Execute => execute(),
        Escape::Trace => trace_parent(),
        // A file without a name, which leaves nothing behind.
        Escape::WriteFile => open(c"/tmp", libc::O_RDWR | libc::O_TMPFILE),
        Escape::Signal => signal_parent(),
        Escape::ExecutableMemory => executable_memory(),
        // SAFETY: FIOCLEX takes no argument.
        Escape::OtherIoctl => outcome(unsafe { libc::ioctl(libc::STDERR_FILENO, libc::FIOCLEX) }),
        Escape::ReadProcess => read_parent(),
        Escape::SetLimit => set_limit(),
    }
}

/// Whether what a driver may need can be had.
pub(crate) fn can_have(need: Action) -> bool {
    match need {
        Action::NeedFile => open(c"/etc/hostname", libc::O_RDONLY) == Outcome::Allowed,
        Action::NeedMemoryFile => {
            // SAFETY: a terminated string.
            closing(unsafe { libc::memfd_create(c"softva".as_ptr(), libc::MFD_CLOEXEC) }) == Outcome::Allowed
        }
        Action::NeedMemory(mebibytes) => mapped((mebibytes as usize) << 20, libc::PROT_READ | libc::PROT_WRITE).is_ok(),
        Action::NeedDescriptors(count) => {
            // SAFETY: standard error is open.
            let files: Vec<c_int> = (0..count).map(|_| unsafe { libc::dup(libc::STDERR_FILENO) }).collect();
            files.into_iter().map(closing).filter(|got| *got != Outcome::Allowed).count() == 0
        }
        _ => true,
    }
}

/// Private memory, given back at once.
fn mapped(size: usize, access: c_int) -> Result<(), i32> {
    // SAFETY: the kernel chooses a free place.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    // SAFETY: just mapped with this size, and nobody has seen it.
    unsafe { libc::munmap(start, size) };
    Ok(())
}

fn executable_memory() -> Outcome {
    let access = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    mapped(4096, access).map_or_else(Outcome::Refused, |()| Outcome::Allowed)
}

fn signal_parent() -> Outcome {
    // SAFETY: no pointers.
    let parent = unsafe { libc::getppid() };
    // SAFETY: signal 0 is only asked about.
    outcome(unsafe { libc::kill(parent, 0) })
}

fn read_parent() -> Outcome {
    // SAFETY: no pointers.
    let parent = unsafe { libc::getppid() };
    let mut word = 0_u64;
    let local = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: size_of_val(&word) };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(8), iov_len: size_of_val(&word) };
    // SAFETY: `local` is a word of ours; `remote` is another process's address, which the kernel checks.
    let read = unsafe { libc::process_vm_readv(parent, &raw const local, 1, &raw const remote, 1, 0) };
    match outcome(read as c_int) {
        // Nothing is mapped there: the other process was looked into.
        Outcome::Refused(libc::EFAULT) => Outcome::Allowed,
        other => other,
    }
}

fn set_limit() -> Outcome {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` may be written.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    // SAFETY: `limit` may be read.
    outcome(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
}

fn open(path: &CStr, flags: c_int) -> Outcome {
    // SAFETY: a terminated string.
    closing(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })
}

fn socket() -> c_int {
    // SAFETY: no pointers.
    unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) }
}

fn connect() -> Outcome {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 9_u16.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let file = socket();
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: an address of that size; a descriptor of -1 is an error that the kernel reports.
    let connected = unsafe { libc::connect(file, ptr::from_ref(&address).cast(), size) };
    let outcome = outcome(connected);
    if file >= 0 {
        closing(file);
    }
    match outcome {
        // Nobody listens there: the network was reached.
        Outcome::Refused(libc::ECONNREFUSED | libc::EINPROGRESS) => Outcome::Allowed,
        other => other,
    }
}

fn execute() -> Outcome {
    let program = c"/bin/true";
    let arguments = [program.as_ptr(), ptr::null()];
    // SAFETY: the new process only calls execve and _exit, which may be done in a copy of a process with threads.
    let child = unsafe { libc::fork() };
    match child {
        -1 => outcome(-1),
        0 => {
            // SAFETY: terminated strings and a terminated list of them.
            unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), ptr::null()) };
            let code = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            // SAFETY: ends the new process at once, with nothing of the old one's cleaned up.
            unsafe { libc::_exit(code) }
        }
        _ => {
            let mut status = 0;
            // SAFETY: waits for our own child, and `status` may be written.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            match libc::WEXITSTATUS(status) {
                _ if waited != child => outcome(-1),
                _ if libc::WIFSIGNALED(status) => Outcome::Killed,
                0 => Outcome::Allowed,
                errno => Outcome::Refused(errno),
            }
        }
    }
}

fn trace_parent() -> Outcome {
    // SAFETY: no pointers.
    let parent = unsafe { libc::getppid() };
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE uses neither address nor data, and does not stop the parent.
    let outcome = outcome(unsafe { libc::ptrace(libc::PTRACE_SEIZE, parent, nothing, nothing) } as c_int);
    if outcome == Outcome::Allowed {
        // Only a stopped process can be let go.
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, parent, nothing, nothing) };
        // SAFETY: waits for the parent to stop; the status is not wanted.
        unsafe { libc::waitpid(parent, ptr::null_mut(), libc::__WALL) };
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, parent, nothing, nothing) };
    }
    outcome
}

fn closing(file: c_int) -> Outcome {
    let outcome = outcome(file);
    if file >= 0 {
        // SAFETY: our own descriptor, not used again.
        unsafe { libc::close(file) };
    }
    outcome
}

fn outcome(returned: c_int) -> Outcome {
    if returned >= 0 {
        return Outcome::Allowed;
    }
    Outcome::Refused(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
