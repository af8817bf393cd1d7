//! A reader of shared memory that does just what it is told, lies included.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::{Camshaft, PATIENCE};

/// A connection that was upgraded.
pub struct SharedReader {
    socket: UnixStream,
    memory: Option<Arc<SharedMemory>>,
}

/// What a CONFIG brought.
pub struct SharedMemory {
    file: File,
    slot_bytes: u64,
    /// Bytes of a picture.
    pub frame_bytes: usize,
}

impl SharedMemory {
    /// What lies in `slot`.
    pub fn data(&self, slot: u32) -> Vec<u8> {
        let mut data = vec![0; self.frame_bytes];
        self.file.read_exact_at(&mut data, u64::from(slot) * self.slot_bytes).unwrap();
        data
    }
}

/// What a FRAME says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedFrame {
    /// Of the memory.
    pub generation: u32,
    /// Where it lies.
    pub slot: u32,
    /// Its number.
    pub sequence: u64,
    /// Microseconds since 1970.
    pub wall: i64,
    /// How many were lost before it.
    pub dropped: u64,
}

impl SharedReader {
    /// Asks for `target` of the stream `cam`; gives the answer's head as well.
    ///
    /// # Errors
    /// The answer, if it is no upgrade.
    pub fn open(server: &Camshaft, query: &str) -> Result<Self, String> {
        let mut socket = UnixStream::connect(server.socket()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET /v1/streams/cam/live.shm?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n\
             Upgrade: camshaft-shm/1\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        let mut answer = String::from_utf8(answer).unwrap();
        if answer.starts_with("HTTP/1.1 101 ") {
            return Ok(Self { socket, memory: None });
        }
        socket.read_to_string(&mut answer).unwrap();
        Err(answer)
    }

    /// Sends these bytes.
    pub fn say(&mut self, bytes: &[u8]) {
        // It may have been cut off already.
        let _ = self.socket.write_all(bytes);
    }

    /// NEXT.
    pub fn ask(&mut self) {
        self.request([1, 0, 0, 0]);
    }

    /// RELEASE.
    pub fn release(&mut self, generation: u32, slot: u32) {
        self.request([2, generation, slot, 0]);
    }

    /// Any message of 16 bytes.
    pub fn request(&mut self, words: [u32; 4]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.say(&bytes);
    }

    /// The next frame, or the reason of the end.
    pub fn frame(&mut self) -> Result<SharedFrame, u32> {
        loop {
            let (message, descriptor) = self.message();
            let u32_at = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
            let u64_at = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().unwrap());
            match u32_at(0) {
                1 => {
                    let file = descriptor.expect("a descriptor").into();
                    let (slot_bytes, frame_bytes) = (u64_at(40), u64_at(48) as usize);
                    self.memory = Some(Arc::new(SharedMemory { file, slot_bytes, frame_bytes }));
                }
                2 => {
                    let (generation, slot) = (u32_at(4), u32_at(8));
                    let (sequence, wall, dropped) = (u64_at(16), u64_at(32) as i64, u64_at(40));
                    return Ok(SharedFrame { generation, slot, sequence, wall, dropped });
                }
                3 => return Err(u32_at(8)),
                kind => panic!("a message of kind {kind}"),
            }
        }
    }

    fn message(&mut self) -> ([u8; 64], Option<OwnedFd>) {
        let (mut message, mut descriptor) = ([0; 64], None);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut message)];
        let received = recvmsg(&self.socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("a message");
        assert_eq!(received.bytes, 64, "a whole message");
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = part {
                descriptor = descriptors.next();
            }
        }
        (message, descriptor)
    }

    /// The newest memory.
    pub fn memory(&self) -> Arc<SharedMemory> {
        self.memory.clone().expect("a CONFIG came")
    }

    /// What lies in `slot` of it.
    pub fn data(&self, slot: u32) -> Vec<u8> {
        self.memory().data(slot)
    }

    /// Asks for a picture, takes it, and gives it back.
    pub fn step(&mut self) -> SharedFrame {
        self.ask();
        let frame = self.frame().expect("a picture");
        self.release(frame.generation, frame.slot);
        frame
    }
}
