//! Pictures through memory that camshaft shares (its `docs/shm.md`), read from where they lie.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

/// What the request for an upgrade names.
pub const PROTOCOL: &str = "camshaft-shm/1";
/// Pictures that may wait while standard output is full.
pub const SLOTS: u32 = 2;

const MESSAGE_BYTES: usize = 64;
const CONFIG: u32 = 1;
const FRAME: u32 = 2;
const END: u32 = 3;
const NEXT: u32 = 1;
const RELEASE: u32 = 2;

/// A reader's end.
pub struct Shared {
    socket: UnixStream,
    memory: Memory,
}

/// Memory and its layout.
struct Memory {
    file: File,
    size: (u32, u32),
    slot_bytes: u64,
    frame_bytes: u64,
}

impl Shared {
    /// Asks for pictures on a connection that was upgraded, and takes the memory.
    ///
    /// # Errors
    /// If none comes: descriptors do not get through everywhere.
    pub fn start(mut socket: UnixStream) -> io::Result<Self> {
        for _ in 0..SLOTS {
            socket.write_all(&request(NEXT, 0, 0))?;
        }
        match receive(&socket)? {
            (message, Some(memory)) if message.u32_at(0) == CONFIG => {
                Ok(Self { socket, memory: Memory::new(memory, &message) })
            }
            (message, _) => Err(message.unexpected()),
        }
    }

    /// Width and height of the pictures.
    pub fn size(&self) -> (u32, u32) {
        self.memory.size
    }

    /// Copies the next picture to `picture`, which has just its length.
    ///
    /// # Errors
    /// If none comes, or one of another length.
    pub fn read(&mut self, picture: &mut [u8]) -> io::Result<()> {
        loop {
            let (message, memory) = receive(&self.socket)?;
            match (message.u32_at(0), memory) {
                (CONFIG, Some(memory)) => self.memory = Memory::new(memory, &message),
                (FRAME, _) => return self.take(&message, picture),
                _ => return Err(message.unexpected()),
            }
        }
    }

    fn take(&mut self, message: &Message, picture: &mut [u8]) -> io::Result<()> {
        let (generation, slot) = (message.u32_at(4), message.u32_at(8));
        if self.memory.frame_bytes != picture.len() as u64 {
            return Err(io::Error::other(format!("its pictures have {} bytes now", self.memory.frame_bytes)));
        }
        self.memory.file.read_exact_at(picture, u64::from(slot) * self.memory.slot_bytes)?;
        let [release, next] = [request(RELEASE, generation, slot), request(NEXT, 0, 0)];
        self.socket.write_all(&[release, next].concat())
    }
}

impl Memory {
    fn new(file: OwnedFd, message: &Message) -> Self {
        let size = (message.u32_at(16), message.u32_at(20));
        Self { file: file.into(), size, slot_bytes: message.u64_at(40), frame_bytes: message.u64_at(48) }
    }
}

/// What camshaft says, in the byte order of the machine.
struct Message([u8; MESSAGE_BYTES]);

impl Message {
    fn u32_at(&self, at: usize) -> u32 {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    fn u64_at(&self, at: usize) -> u64 {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    fn unexpected(&self) -> io::Error {
        let text = match (self.u32_at(0), self.u32_at(8)) {
            (END, 1) => "the stream ended".to_owned(),
            (END, 2) => "it stops".to_owned(),
            (END, reason) => format!("it ended the connection, reason {reason}"),
            (kind, _) => format!("it sent a message of kind {kind} without what belongs to it"),
        };
        io::Error::other(text)
    }
}

fn request(kind: u32, generation: u32, slot: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, word) in bytes.chunks_exact_mut(4).zip([kind, generation, slot, 0]) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The next message, and the descriptor that comes with it.
fn receive(socket: &UnixStream) -> io::Result<(Message, Option<OwnedFd>)> {
    let (mut message, mut descriptor, mut have) = ([0; MESSAGE_BYTES], None, 0);
    while let Some(rest) = message.get_mut(have..).filter(|rest| !rest.is_empty()) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(socket, &mut [IoSliceMut::new(rest)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let count = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::INTR) => continue,
            // What a time-out on a socket is called (socket(7)) says nothing to people.
            Err(rustix::io::Errno::AGAIN) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it is silent")),
            Err(error) => return Err(error.into()),
        };
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                descriptor = descriptors.last().or(descriptor);
            }
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        have += count;
    }
    Ok((Message(message), descriptor))
}
