//! What the process gives up before it touches media. The order is: open the driver, its render node and the accounts of
//! its use, then [`confine`], then read the first byte that came from a camera.
//!
//! A refused system call arrives here as SIGSYS. It is named on standard error, where the supervisor reads it; then the
//! call fails, or the process ends. What runs in the handler may interrupt anything, so it only writes.

use camshaft::sandbox::{
    Answer, ConfineError, Confined, Confinement, Deadly, Needs, SystemCall, answer, confine as put_on,
};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use rustix::mm::{Advice, madvise};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// What the supervisor knows such lines by.
const REFUSED: &[u8] = b"SANDBOX ";
/// More of a path than tells which one it is.
const LONGEST_PATH: usize = 256;

/// Gives back the pages that only linking has read: symbols and relocations of two hundred libraries, most of which no
/// role uses. What is wanted after all comes back from the page cache.
pub fn give_back_what_linking_read() {
    // Without /proc they stay.
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for range in unwritten_files(&maps) {
        let start = ptr::without_provenance_mut(range.start);
        // SAFETY: these are pages of a file as the file has them: they are read again when they are touched.
        let _ = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
    }
}

/// The addresses of private mappings of files, by /proc/self/smaps, that nobody can write to and nobody has written to.
fn unwritten_files(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [addresses, "r--p" | "r-xp", _, _, _, file, ..] if file.starts_with('/') => {
                candidate = addresses.split_once('-').and_then(|(start, end)| {
                    let address = |digits| usize::from_str_radix(digits, 16).ok();
                    Some(address(start)?..address(end)?)
                });
            }
            ["Anonymous:", kilobytes, _] => {
                found.extend(candidate.take().filter(|_| kilobytes == "0"));
            }
            [addresses, permissions, ..] if addresses.contains('-') && permissions.len() == 4 => candidate = None,
            _ => {}
        }
    }
    found
}

/// Confines the process for good.
///
/// # Errors
/// The layer that could not be put on.
pub fn confine(confinement: &Confinement, needs: Needs) -> Result<Confined, ConfineError> {
    handle_refusals().map_err(|errno| ConfineError::SystemCalls(errno.to_string()))?;
    put_on(confinement, needs, Deadly::Signal)
}

fn handle_refusals() -> std::io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let pointer = action.as_mut_ptr();
    // SAFETY: `pointer` is to memory of that type, and every field of it may be zero.
    let filled = unsafe { &mut *pointer };
    filled.sa_sigaction = on_refusal as *const () as usize;
    // Not SA_NODEFER: a second refusal while one is handled is the end.
    filled.sa_flags = libc::SA_SIGINFO;
    // SAFETY: a whole action, whose handler has the signature that SA_SIGINFO asks for.
    match unsafe { libc::sigaction(libc::SIGSYS, pointer, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The signal arrives in the thread that made the call, with the registers as they were.
extern "C" fn on_refusal(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a ucontext_t to handlers with SA_SIGINFO, for as long as they run.
    let Some(context) = (unsafe { context.cast::<ucontext_t>().as_mut() }) else { return };
    let mut registers = Registers::of(context);
    let Some(call) = registers.call() else { return };
    write(REFUSED);
    write(call.name().unwrap_or("?").as_bytes());
    if let Some(path) = path_of(call, &registers) {
        write(b" ");
        write_path(path);
    }
    write(b"\n");
    let errno = match answer(call) {
        Answer::Denied => libc::EACCES,
        Answer::Unknown => libc::ENOSYS,
        Answer::End => end(call),
    };
    registers.answer(-i64::from(errno));
}

/// Dies of SIGSYS: it is blocked here, so that the kernel ends the process at the next refusal.
fn end(call: SystemCall) -> ! {
    // SAFETY: a call that the filter stops, whatever its arguments; were it not stopped, zeroes mean nothing to it.
    unsafe { libc::syscall(call.number(), 0, 0, 0, 0, 0, 0) };
    // SAFETY: ends the process at once, with nothing cleaned up.
    unsafe { libc::_exit(128 + libc::SIGSYS) }
}

/// The path that the call names, where it is one that files are looked at by.
fn path_of(call: SystemCall, registers: &Registers) -> Option<*const u8> {
    let argument = match call.name()? {
        "open" | "stat" | "lstat" | "access" | "readlink" | "creat" | "statfs" | "mkdir" | "unlink" => 0,
        "openat" | "openat2" | "newfstatat" | "statx" | "faccessat" | "faccessat2" | "readlinkat" => 1,
        _ => return None,
    };
    Some(registers.argument(argument) as *const u8).filter(|path| !path.is_null())
}

fn write(bytes: &[u8]) {
    // SAFETY: that many bytes may be read. Were the write to fail, nobody could be told.
    unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

fn write_path(path: *const u8) {
    // SAFETY: the path of a call that libc made ends with a zero; strnlen reads no further.
    let length = unsafe { libc::strnlen(path.cast(), LONGEST_PATH) };
    // SAFETY: just measured, and the caller of the interrupted call keeps it.
    write(unsafe { std::slice::from_raw_parts(path, length) });
}

/// The registers of the interrupted call.
struct Registers<'a>(&'a mut libc::mcontext_t);

#[cfg(target_arch = "x86_64")]
impl<'a> Registers<'a> {
    const ARGUMENTS: [c_int; 2] = [libc::REG_RDI, libc::REG_RSI];

    fn of(context: &'a mut ucontext_t) -> Self {
        Self(&mut context.uc_mcontext)
    }

    fn call(&self) -> Option<SystemCall> {
        u32::try_from(*self.0.gregs.get(libc::REG_RAX as usize)?).ok().map(SystemCall::new)
    }

    fn argument(&self, index: usize) -> u64 {
        let register = Self::ARGUMENTS.get(index).and_then(|register| self.0.gregs.get(*register as usize));
        register.map_or(0, |value| value.cast_unsigned())
    }

    /// Has the call return this.
    fn answer(&mut self, value: i64) {
        if let Some(register) = self.0.gregs.get_mut(libc::REG_RAX as usize) {
            *register = value;
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl<'a> Registers<'a> {
    /// The register that has the number of the call.
    const NUMBER: usize = 8;

    fn of(context: &'a mut ucontext_t) -> Self {
        Self(&mut context.uc_mcontext)
    }

    fn call(&self) -> Option<SystemCall> {
        u32::try_from(self.0.regs[Self::NUMBER]).ok().map(SystemCall::new)
    }

    fn argument(&self, index: usize) -> u64 {
        self.0.regs.get(index).copied().unwrap_or(0)
    }

    /// Has the call return this.
    fn answer(&mut self, value: i64) {
        self.0.regs[0] = value.cast_unsigned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_files_as_it_is_may_go() {
        let region =
            |head: &str, anonymous: u32| format!("{head}\nRss: 8 kB\nAnonymous: {anonymous} kB\nVmFlags: rd mr\n");
        let smaps = [
            region("1000-2000 r--p 00000000 fe:00 11 /lib/liba.so", 0),
            region("2000-4000 r-xp 00001000 fe:00 11 /lib/liba.so", 0),
            // Relocated, and read-only since.
            region("4000-5000 r--p 00003000 fe:00 11 /lib/liba.so", 4),
            region("5000-6000 rw-p 00004000 fe:00 11 /lib/liba.so", 0),
            region("6000-7000 r--s 00000000 fe:00 12 /dev/shm/ring", 0),
            region("7000-8000 r--p 00000000 00:00 0 ", 0),
            region("8000-9000 r-xp 00000000 00:00 0 [vdso]", 0),
        ];
        assert_eq!(unwritten_files(&smaps.concat()), [0x1000..0x2000, 0x2000..0x4000]);
    }
}
