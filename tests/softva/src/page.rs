//! The driver's side of the control file: mapped once, when the driver is opened, for a sandbox allows nothing later.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::control::{
    self, Action, Call, Counter, ESCAPES_WANTED_AT, Escape, FAULT_SLOTS, MAGIC, MAGIC_AT, Object, Outcome,
    SESSION_ENDED, SESSION_OPEN, SESSION_SLOTS, SESSIONS_OPENED_AT, SIZE, fault_at, fault_words, session_at,
    session_words,
};

/// The mapped file, or memory of the same form that nobody else sees.
#[derive(Debug)]
pub(crate) struct Page {
    start: NonNull<AtomicU64>,
    session: usize,
}

// SAFETY: the words are atomic and the mapping belongs to no thread.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Maps the file at `path`, or private memory, and begins a session in it.
    ///
    /// # Errors
    /// Those of opening and mapping; a file that is none of ours or has had too many sessions.
    pub(crate) fn open(path: Option<&str>) -> io::Result<Self> {
        let start = match path {
            Some(path) => map_file(path)?,
            None => map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?,
        };
        let mut page = Self { start, session: 0 };
        if path.is_some() && page.word(MAGIC_AT).load(Ordering::Acquire) != MAGIC {
            return Err(io::Error::other("this is no control file of softva"));
        }
        page.session = page.word(SESSIONS_OPENED_AT).fetch_add(1, Ordering::AcqRel) as usize;
        if page.session >= SESSION_SLOTS {
            return Err(io::Error::other("this control file has no room for more sessions: make a new one"));
        }
        page.session_word(session_words::PROCESS).store(process::id().into(), Ordering::Release);
        page.session_word(session_words::STATE).store(SESSION_OPEN, Ordering::Release);
        Ok(page)
    }

    /// Ends the session. What is alive now has leaked.
    pub(crate) fn end_session(&self) {
        self.session_word(session_words::STATE).store(SESSION_ENDED, Ordering::Release);
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.word(counter.at()).fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count_call(&self, call: Call) {
        self.word(call.at()).fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn object_made(&self, object: Object) {
        self.live(object).fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn object_gone(&self, object: Object) {
        self.live(object).fetch_sub(1, Ordering::AcqRel);
    }

    /// What strikes this call, if anything. `live` is the number of objects of the kind that the call makes.
    pub(crate) fn strike(&self, call: Call, live: Option<u64>) -> Option<Action> {
        (0..FAULT_SLOTS).map(fault_at).find_map(|at| {
            let read = |offset| self.word(at + offset).load(Ordering::Acquire);
            if read(fault_words::ARMED) == 0 || read(fault_words::CALL) != call as u64 {
                return None;
            }
            let seen = self.word(at + fault_words::SEEN).fetch_add(1, Ordering::AcqRel);
            let (after, times) = (read(fault_words::AFTER), read(fault_words::TIMES));
            if seen < after || (times != 0 && seen - after >= times) {
                return None;
            }
            let action = Action::decode([read(fault_words::ACTION), read(fault_words::ACTION + 8)])?;
            if let Action::Limit(most) = action
                && live.is_none_or(|live| live < most.into())
            {
                return None;
            }
            self.word(at + fault_words::HITS).fetch_add(1, Ordering::AcqRel);
            Some(action)
        })
    }

    /// The escapes that somebody wants attempted; each is given out once.
    pub(crate) fn take_wanted_escapes(&self) -> Vec<Escape> {
        if self.word(ESCAPES_WANTED_AT).load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let set = self.word(ESCAPES_WANTED_AT).swap(0, Ordering::AcqRel);
        Escape::ALL.into_iter().filter(|escape| set & 1 << *escape as usize != 0).collect()
    }

    pub(crate) fn report(&self, escape: Escape, outcome: Outcome) {
        let [state, errno] = outcome.encode();
        self.word(escape.at() + 8).store(errno, Ordering::Release);
        self.word(escape.at()).store(state, Ordering::Release);
    }

    fn live(&self, object: Object) -> &AtomicU64 {
        self.session_word(session_words::LIVE + object as usize * 8)
    }

    fn session_word(&self, offset: usize) -> &AtomicU64 {
        self.word(session_at(self.session) + offset)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        const WORDS: Range<usize> = 0..SIZE / 8;
        let index = at / 8;
        assert!(WORDS.contains(&index), "word {at:#x} of the control file");
        // SAFETY: within the mapping.
        let word = unsafe { self.start.add(index) };
        // SAFETY: aligned, only ever touched atomically, and mapped for as long as `self` lives.
        unsafe { word.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped with this size, and references to its words do not outlive `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), control::SIZE) };
    }
}

fn map_file(path: &str) -> io::Result<NonNull<AtomicU64>> {
    let path = CString::new(path)?;
    // SAFETY: a terminated string.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    let mapped = map(libc::MAP_SHARED, file);
    // SAFETY: our own descriptor, not used again. The mapping stays.
    unsafe { libc::close(file) };
    mapped
}

fn map(flags: libc::c_int, file: libc::c_int) -> io::Result<NonNull<AtomicU64>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses a free place, so nothing of ours is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, flags, file, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))
}
