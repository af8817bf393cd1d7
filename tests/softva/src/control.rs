//! The file that a test and the driver share: faults and attempts go in, counters and outcomes come out.
//!
//! The driver maps the file when it is opened; a test reads and writes it as a file. This module stands alone, so that
//! tests include it by `#[path]` and link no driver. All fields are 64-bit little-endian words.

#![allow(dead_code)] // each program that includes this file uses its own part of it

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Length of the file in bytes.
pub const SIZE: usize = 0x8000;
/// First word of the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SOFTVA01");

/// Offset of [`MAGIC`].
pub const MAGIC_AT: usize = 0x0;
/// Offset of the number of sessions that were opened so far.
pub const SESSIONS_OPENED_AT: usize = 0x8;
/// Offset of the set of escapes to attempt: bit `n` is the [`Escape`] of that number. The driver takes it.
pub const ESCAPES_WANTED_AT: usize = 0x10;
const COUNTERS_AT: usize = 0x100;
const CALLS_AT: usize = 0x200;
const ESCAPES_AT: usize = 0x400;
const FAULTS_AT: usize = 0x800;
const SESSIONS_AT: usize = 0x1000;

/// Faults that can be armed at once.
pub const FAULT_SLOTS: usize = 32;
const FAULT_SIZE: usize = 64;
/// Sessions that a file has room for; opening a driver beyond them fails.
pub const SESSION_SLOTS: usize = (SIZE - SESSIONS_AT) / SESSION_SIZE;
const SESSION_SIZE: usize = 64;

/// Things that the driver has done, in all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// H.264 pictures (or fields) decoded.
    H264Decoded,
    /// HEVC pictures decoded.
    HevcDecoded,
    /// JPEG pictures decoded.
    JpegDecoded,
    /// H.264 pictures encoded.
    H264Encoded,
    /// JPEG pictures encoded.
    JpegEncoded,
    /// Pictures scaled or converted.
    Scaled,
    /// Pictures read back by vaGetImage.
    ImagesRead,
    /// Pictures written by vaPutImage.
    ImagesWritten,
    /// Images derived from surfaces, to be mapped.
    ImagesDerived,
    /// MPEG-2 pictures (or fields) decoded.
    Mpeg2Decoded,
}

impl Counter {
    /// Where the counter stands in the file.
    pub const fn at(self) -> usize {
        COUNTERS_AT + self as usize * 8
    }
}

/// What a client can ask of the driver and a fault can strike. vaEndPicture is three, by what the context is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Call {
    /// The opening of the driver in vaInitialize.
    Initialize,
    /// vaTerminate.
    Terminate,
    /// vaQueryConfigProfiles.
    QueryConfigProfiles,
    /// vaQueryConfigEntrypoints.
    QueryConfigEntrypoints,
    /// vaGetConfigAttributes.
    GetConfigAttributes,
    /// vaCreateConfig.
    CreateConfig,
    /// vaDestroyConfig.
    DestroyConfig,
    /// vaQueryConfigAttributes.
    QueryConfigAttributes,
    /// vaQuerySurfaceAttributes.
    QuerySurfaceAttributes,
    /// vaCreateSurfaces, of one surface or several.
    CreateSurfaces,
    /// vaDestroySurfaces.
    DestroySurfaces,
    /// vaCreateContext.
    CreateContext,
    /// vaDestroyContext.
    DestroyContext,
    /// vaCreateBuffer.
    CreateBuffer,
    /// vaBufferSetNumElements.
    BufferSetNumElements,
    /// vaMapBuffer.
    MapBuffer,
    /// vaUnmapBuffer.
    UnmapBuffer,
    /// vaDestroyBuffer.
    DestroyBuffer,
    /// vaBeginPicture.
    BeginPicture,
    /// vaRenderPicture.
    RenderPicture,
    /// vaEndPicture where pictures are decoded.
    EndDecode,
    /// vaEndPicture where pictures are encoded, to H.264 or JPEG.
    EndEncode,
    /// vaEndPicture where pictures are scaled or converted.
    EndProcess,
    /// vaSyncSurface and vaSyncSurface2.
    SyncSurface,
    /// vaSyncBuffer.
    SyncBuffer,
    /// vaQuerySurfaceStatus.
    QuerySurfaceStatus,
    /// vaQueryImageFormats.
    QueryImageFormats,
    /// vaCreateImage.
    CreateImage,
    /// vaDeriveImage.
    DeriveImage,
    /// vaDestroyImage.
    DestroyImage,
    /// vaGetImage.
    GetImage,
    /// vaPutImage.
    PutImage,
    /// vaQueryVideoProcPipelineCaps.
    QueryPipelineCaps,
}

impl Call {
    /// Where the number of these calls stands in the file.
    pub const fn at(self) -> usize {
        CALLS_AT + self as usize * 8
    }
}

/// Kinds of objects that a client must give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Object {
    /// VAConfigID.
    Config,
    /// VAContextID.
    Context,
    /// VASurfaceID.
    Surface,
    /// VABufferID, those of images too.
    Buffer,
    /// VAImageID.
    Image,
}

impl Object {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Config, Self::Context, Self::Surface, Self::Buffer, Self::Image];
}

/// What happens when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The call does nothing and returns this VAStatus.
    Status(u32),
    /// The picture is accepted; vaSyncSurface, vaSyncBuffer and reading it back return this VAStatus, as after a hang.
    StatusAtSync(u32),
    /// The coded buffer has 0 bytes; all calls succeed.
    EmptyCoded,
    /// The coded buffer has the previous picture's bytes once more; all calls succeed.
    StaleCoded,
    /// Bytes in the middle of the coded buffer are wrong; all calls succeed.
    CorruptCoded,
    /// The coded buffer's status has these bits set; all calls succeed.
    CodedStatus(u32),
    /// The surface shows the context's previous picture; all calls succeed.
    FrozenPicture,
    /// The surface is all zero, which is green; all calls succeed.
    ZeroPicture,
    /// The surface shows the negative; all calls succeed.
    WrongPicture,
    /// The call waits so long, then goes on.
    Block(Duration),
    /// The call never returns.
    BlockForEver,
    /// The call takes so many times as long.
    Slow(u32),
    /// The process aborts, as at a failed assertion in the driver.
    Abort,
    /// The process reads where nothing is mapped.
    SegmentationFault,
    /// With so many surfaces, contexts or buffers alive, creating one more fails with VA_STATUS_ERROR_ALLOCATION_FAILED.
    Limit(u32),
    /// The call fails with VA_STATUS_ERROR_OPERATION_FAILED unless `/etc/hostname` can be read.
    NeedFile,
    /// The same unless a memory file can be made.
    NeedMemoryFile,
    /// The same unless so many MiB of memory can be had.
    NeedMemory(u32),
    /// The same unless so many more descriptors can be had.
    NeedDescriptors(u32),
}

impl Action {
    /// The two words that stand for the action.
    pub fn encode(self) -> [u64; 2] {
        match self {
            Self::Status(status) => [1, status.into()],
            Self::StatusAtSync(status) => [2, status.into()],
            Self::EmptyCoded => [3, 0],
            Self::StaleCoded => [4, 0],
            Self::CorruptCoded => [5, 0],
            Self::CodedStatus(bits) => [6, bits.into()],
            Self::FrozenPicture => [7, 0],
            Self::ZeroPicture => [8, 0],
            Self::Block(time) => [9, u64::try_from(time.as_millis()).unwrap_or(u64::MAX)],
            Self::BlockForEver => [10, 0],
            Self::Slow(factor) => [11, factor.into()],
            Self::Abort => [12, 0],
            Self::SegmentationFault => [13, 0],
            Self::Limit(most) => [14, most.into()],
            Self::NeedFile => [15, 0],
            Self::NeedMemoryFile => [16, 0],
            Self::NeedMemory(mebibytes) => [17, mebibytes.into()],
            Self::NeedDescriptors(count) => [18, count.into()],
            Self::WrongPicture => [19, 0],
        }
    }

    /// The action that the words stand for, if any.
    pub fn decode(words: [u64; 2]) -> Option<Self> {
        let argument = words[1] as u32;
        Some(match words[0] {
            1 => Self::Status(argument),
            2 => Self::StatusAtSync(argument),
            3 => Self::EmptyCoded,
            4 => Self::StaleCoded,
            5 => Self::CorruptCoded,
            6 => Self::CodedStatus(argument),
            7 => Self::FrozenPicture,
            8 => Self::ZeroPicture,
            9 => Self::Block(Duration::from_millis(words[1])),
            10 => Self::BlockForEver,
            11 => Self::Slow(argument),
            12 => Self::Abort,
            13 => Self::SegmentationFault,
            14 => Self::Limit(argument),
            15 => Self::NeedFile,
            16 => Self::NeedMemoryFile,
            17 => Self::NeedMemory(argument),
            18 => Self::NeedDescriptors(argument),
            19 => Self::WrongPicture,
            _ => return None,
        })
    }
}

/// How long a fault goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many calls.
    Count(u64),
    /// Every call until it is disarmed.
    Sticky,
}

/// A fault: what happens, in which call, from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The calls that it strikes.
    pub call: Call,
    /// So many of these calls pass first, counted from when the fault is armed, in all sessions.
    pub after: u64,
    /// How many calls it strikes then.
    pub times: Times,
    /// What happens.
    pub action: Action,
}

/// The words of a fault, as offsets from its slot. A slot is free while `ARMED` is 0.
pub mod fault_words {
    /// 1 while the fault is armed. Written last.
    pub const ARMED: usize = 0x0;
    /// Number of the [`super::Call`].
    pub const CALL: usize = 0x8;
    /// Calls that pass first.
    pub const AFTER: usize = 0x10;
    /// Calls that it strikes; 0 for all.
    pub const TIMES: usize = 0x18;
    /// The [`super::Action`], two words.
    pub const ACTION: usize = 0x20;
    /// Calls seen since it was armed; counted by the driver.
    pub const SEEN: usize = 0x30;
    /// Calls that it struck; counted by the driver.
    pub const HITS: usize = 0x38;
}

/// Where a fault's slot stands in the file.
pub const fn fault_at(slot: usize) -> usize {
    FAULTS_AT + slot * FAULT_SIZE
}

/// The words of a session, as offsets from its slot.
pub mod session_words {
    /// Process that opened the driver.
    pub const PROCESS: usize = 0x0;
    /// 0 not used yet, 1 open, 2 ended by vaTerminate.
    pub const STATE: usize = 0x8;
    /// Live objects, one word a kind, by number of the [`super::Object`].
    pub const LIVE: usize = 0x10;
}

/// [`session_words::STATE`] between vaInitialize and vaTerminate.
pub const SESSION_OPEN: u64 = 1;
/// [`session_words::STATE`] after vaTerminate.
pub const SESSION_ENDED: u64 = 2;

/// Where a session's slot stands in the file.
pub const fn session_at(slot: usize) -> usize {
    SESSIONS_AT + slot * SESSION_SIZE
}

/// Ways out of a sandbox. The driver attempts those that it is told to in the next vaEndPicture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Escape {
    /// Open `/etc/passwd` for reading.
    OpenFile,
    /// Open another node in `/dev/dri`: `card3`.
    OpenOtherNode,
    /// Make a TCP socket.
    Socket,
    /// Connect a TCP socket to 127.0.0.1:9; without a socket, the bare call.
    Connect,
    /// Run `/bin/true` in a new process.
    Execute,
    /// Trace the parent process.
    Trace,
    /// Make a file in `/tmp`.
    WriteFile,
    /// Ask whether the parent process may be signalled.
    Signal,
    /// Map memory that can be written and executed.
    ExecutableMemory,
    /// An `ioctl` that is none of DRM's: FIOCLEX on standard error.
    OtherIoctl,
    /// Read a word of the parent process.
    ReadProcess,
    /// Raise the limit on descriptors to what it is, which is a right of its own to ask for.
    SetLimit,
}

impl Escape {
    /// All ways.
    pub const ALL: [Self; 12] = [
        Self::OpenFile,
        Self::OpenOtherNode,
        Self::Socket,
        Self::Connect,
        Self::Execute,
        Self::Trace,
        Self::WriteFile,
        Self::Signal,
        Self::ExecutableMemory,
        Self::OtherIoctl,
        Self::ReadProcess,
        Self::SetLimit,
    ];

    /// Where the outcome stands in the file: a word of state, and the errno.
    pub const fn at(self) -> usize {
        ESCAPES_AT + self as usize * 16
    }
}

/// What became of an [`Escape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody attempted it.
    NotAttempted,
    /// It was attempted and there was no answer: the process (or the new one) was killed.
    Killed,
    /// It was possible.
    Allowed,
    /// The kernel answered with this errno.
    Refused(i32),
}

impl Outcome {
    /// The two words that stand for the outcome.
    pub fn encode(self) -> [u64; 2] {
        match self {
            Self::NotAttempted => [0, 0],
            Self::Killed => [1, 0],
            Self::Allowed => [2, 0],
            Self::Refused(errno) => [3, errno.unsigned_abs().into()],
        }
    }

    fn decode(words: [u64; 2]) -> Self {
        match words[0] {
            0 => Self::NotAttempted,
            1 => Self::Killed,
            2 => Self::Allowed,
            _ => Self::Refused(words[1] as i32),
        }
    }
}

/// A test's side of the file.
#[derive(Debug)]
pub struct ControlFile {
    file: File,
    path: PathBuf,
}

/// An armed fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArmedFault {
    slot: usize,
}

impl ControlFile {
    /// Makes a new file at `path`, or empties the one that is there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(SIZE as u64)?;
        let control = Self { file, path: path.to_owned() };
        control.write(MAGIC_AT, MAGIC)?;
        Ok(control)
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the driver counted.
    pub fn count(&self, counter: Counter) -> io::Result<u64> {
        self.read(counter.at())
    }

    /// How often clients made a call, struck by faults or not.
    pub fn calls(&self, call: Call) -> io::Result<u64> {
        self.read(call.at())
    }

    /// How often the driver was opened.
    pub fn sessions(&self) -> io::Result<u64> {
        self.read(SESSIONS_OPENED_AT)
    }

    /// Objects that exist, in sessions of processes that exist.
    pub fn live(&self, object: Object) -> io::Result<u64> {
        let exists = |process: u64| Path::new("/proc").join(process.to_string()).exists();
        self.sum_sessions(object, |state, process| state == SESSION_OPEN && exists(process))
    }

    /// Objects that were not given back before vaTerminate.
    pub fn leaked(&self, object: Object) -> io::Result<u64> {
        self.sum_sessions(object, |state, _| state == SESSION_ENDED)
    }

    /// Arms a fault in a slot that is free.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if as many as fit are armed.
    pub fn arm(&self, fault: &Fault) -> io::Result<ArmedFault> {
        let slot = (0..FAULT_SLOTS).find_map(|slot| match self.read(fault_at(slot) + fault_words::ARMED) {
            Ok(0) => Some(Ok(slot)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let slot = slot.unwrap_or_else(|| Err(io::ErrorKind::StorageFull.into()))?;
        let times = match fault.times {
            Times::Count(count) => count,
            Times::Sticky => 0,
        };
        let action = fault.action.encode();
        let words = [
            (fault_words::CALL, fault.call as u64),
            (fault_words::AFTER, fault.after),
            (fault_words::TIMES, times),
            (fault_words::ACTION, action[0]),
            (fault_words::ACTION + 8, action[1]),
            (fault_words::SEEN, 0),
            (fault_words::HITS, 0),
            (fault_words::ARMED, 1),
        ];
        for (offset, value) in words {
            self.write(fault_at(slot) + offset, value)?;
        }
        Ok(ArmedFault { slot })
    }

    /// How many calls the fault has struck so far.
    pub fn hits(&self, fault: ArmedFault) -> io::Result<u64> {
        self.read(fault_at(fault.slot) + fault_words::HITS)
    }

    /// Ends a fault. Calls that it blocks for ever stay blocked.
    pub fn disarm(&self, fault: ArmedFault) -> io::Result<()> {
        self.write(fault_at(fault.slot) + fault_words::ARMED, 0)
    }

    /// Has the driver attempt these escapes in the next vaEndPicture.
    pub fn attempt(&self, escapes: &[Escape]) -> io::Result<()> {
        for escape in escapes {
            self.write(escape.at(), 0)?;
        }
        self.write(ESCAPES_WANTED_AT, escapes.iter().fold(0, |set, escape| set | 1 << *escape as usize))
    }

    /// What became of an escape.
    pub fn outcome(&self, escape: Escape) -> io::Result<Outcome> {
        Ok(Outcome::decode([self.read(escape.at())?, self.read(escape.at() + 8)?]))
    }

    fn sum_sessions(&self, object: Object, counts: impl Fn(u64, u64) -> bool) -> io::Result<u64> {
        let opened = self.sessions()?.min(SESSION_SLOTS as u64) as usize;
        (0..opened).map(session_at).try_fold(0, |sum, at| {
            let counted = counts(self.read(at + session_words::STATE)?, self.read(at + session_words::PROCESS)?);
            Ok(sum + if counted { self.read(at + session_words::LIVE + object as usize * 8)? } else { 0 })
        })
    }

    fn read(&self, at: usize) -> io::Result<u64> {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, at as u64)?;
        Ok(u64::from_le_bytes(word))
    }

    fn write(&self, at: usize, value: u64) -> io::Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), at as u64)
    }
}
