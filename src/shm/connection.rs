//! A reader's connection: messages with descriptors to it, messages from it.

use bytes::{Buf, BytesMut};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;

use super::wire::{Message, REQUEST_BYTES};

/// The Unix socket, and what came of it that is not a whole message yet.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    received: BytesMut,
}

impl Connection {
    /// Goes on where HTTP ended; `received` is what came already.
    pub fn new(socket: UnixStream, received: &[u8]) -> Self {
        Self { socket, received: BytesMut::from(received) }
    }

    /// The next message of the reader's; `None` once it has hung up. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Option<[u8; REQUEST_BYTES]> {
        loop {
            if let Some(message) = self.received.first_chunk().copied() {
                self.received.advance(REQUEST_BYTES);
                return Some(message);
            }
            // A connection that fails is as good as one that is gone.
            if self.socket.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Resolves once the reader has hung up; what it says until then is left unread by anybody.
    pub(super) async fn hung_up(&mut self) {
        while self.receive().await.is_some() {}
    }

    /// Sends `message`, and `descriptor` with its first byte.
    ///
    /// # Errors
    /// The reader is gone.
    pub(super) async fn send(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let sent = self.socket.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if let Some(descriptor) = &descriptor {
                ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
            }
            Ok(sendmsg(self.socket.as_fd(), &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        // The kernel takes so little as a whole or not at all.
        if sent.await? == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::{IoSliceMut, Write};

    #[tokio::test]
    async fn a_descriptor_comes_with_its_message_and_no_other() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours, &[]);
        let file = tempfile::tempfile().unwrap();
        connection.send(&[1; 64], Some(file.as_fd())).await.unwrap();
        connection.send(&[2; 64], None).await.unwrap();
        let theirs = theirs.into_std().unwrap();
        theirs.set_nonblocking(false).unwrap();
        for (value, descriptors) in [(1, 1), (2, 0)] {
            let mut message = [0; 64];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut message)];
            assert_eq!(recvmsg(&theirs, &mut into, &mut ancillary, RecvFlags::empty()).unwrap().bytes, 64);
            let came = ancillary.drain().map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.count(),
                _ => 0,
            });
            assert_eq!((came.sum::<usize>(), message), (descriptors, [value; 64]));
        }
    }

    #[tokio::test]
    async fn messages_are_put_together_and_a_half_one_is_none() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours, &[7; 10]);
        let mut theirs = theirs.into_std().unwrap();
        theirs.write_all(&[7; 6 + 16 + 3]).unwrap();
        assert_eq!(connection.receive().await, Some([7; 16]));
        assert_eq!(connection.receive().await, Some([7; 16]));
        drop(theirs);
        assert_eq!(connection.receive().await, None);
    }
}
