//! What comes in on a connection: requests and interleaved data, read within limits of size and time.

use bytes::{Buf, BytesMut};
use rtsp_types::{Message, ParseError, Request};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// Header lines of a message.
const HEADERS_MAX: usize = 255;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Something that a client sent.
#[derive(Debug)]
pub enum Inbound {
    /// A request, its body whole.
    Request(Request<Vec<u8>>),
    /// Data on an interleaved channel (RFC 2326 §10.12).
    Data(Vec<u8>),
    /// An answer, though nothing was asked.
    Response,
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client is gone.
    Gone,
    /// A message is larger than `limits.rtsp_message`, or has more header lines than any client sends.
    TooLarge,
    /// A message is not whole within its time.
    TooSlow,
    /// This is not RTSP.
    Malformed,
}

/// The reading side of a connection.
#[derive(Debug)]
pub struct Incoming<R> {
    read: R,
    buffer: BytesMut,
    message_max: usize,
    /// For a message from its first byte to its last; also for a connection's first one.
    message_timeout: Duration,
    /// When the message under way began; `None` between messages.
    began: Option<Instant>,
    /// Bytes at the start of the buffer that hold no end of a head.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads messages of at most `message_max` bytes, each within `message_timeout`.
    pub fn new(read: R, message_max: usize, message_timeout: Duration) -> Self {
        Self { read, buffer: BytesMut::new(), message_max, message_timeout, began: Some(Instant::now()), searched: 0 }
    }

    /// The next message. Cancel-safe.
    ///
    /// # Errors
    /// Whatever ends the connection; nothing more can be read then.
    pub async fn next(&mut self) -> Result<Inbound, Refusal> {
        loop {
            if let Some(inbound) = self.parse()? {
                self.began = None;
                return Ok(inbound);
            }
            if !self.buffer.is_empty() {
                self.began.get_or_insert_with(Instant::now);
            }
            let read = self.read.read_buf(&mut self.buffer);
            let read = match self.began {
                Some(began) => {
                    tokio::time::timeout_at(began + self.message_timeout, read).await.map_err(|_| Refusal::TooSlow)?
                }
                None => read.await,
            };
            if !matches!(read, Ok(1..)) {
                return Err(Refusal::Gone);
            }
        }
    }

    /// The message at the start of the buffer, if it is whole.
    fn parse(&mut self) -> Result<Option<Inbound>, Refusal> {
        // A client may send empty lines between messages.
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.searched = 0;
        }
        if self.buffer.first() != Some(&b'$') && !self.has_head()? {
            return Ok(None);
        }
        match Message::<Vec<u8>>::parse(&self.buffer[..]) {
            Ok((message, length)) => {
                self.buffer.advance(length);
                self.searched = 0;
                Ok(Some(match message {
                    Message::Request(request) => Inbound::Request(request),
                    Message::Response(_) => Inbound::Response,
                    Message::Data(data) => Inbound::Data(data.into_body()),
                }))
            }
            Err(ParseError::Incomplete(missing)) => {
                let missing = missing.map_or(1, std::num::NonZero::get);
                if self.buffer.len().saturating_add(missing) > self.message_max {
                    return Err(Refusal::TooLarge);
                }
                Ok(None)
            }
            Err(_) => Err(Refusal::Malformed),
        }
    }

    /// Whether the buffer begins with a whole head; looks at each byte once, however it trickles in.
    fn has_head(&mut self) -> Result<bool, Refusal> {
        let from = self.searched.saturating_sub(HEAD_END.len() - 1);
        let searched = self.buffer.get(from..).unwrap_or_default();
        let found = searched.windows(HEAD_END.len()).position(|window| window == HEAD_END);
        let Some(found) = found else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > self.message_max { Err(Refusal::TooLarge) } else { Ok(false) };
        };
        let head = self.buffer.get(..from + found).unwrap_or_default();
        let lines = head.windows(2).filter(|window| window == b"\r\n").count();
        if head.len() > self.message_max || lines > HEADERS_MAX { Err(Refusal::TooLarge) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtsp_types::Method;
    use tokio::io::AsyncWriteExt;

    async fn read_all(bytes: &[u8]) -> (Vec<Inbound>, Refusal) {
        let mut incoming = Incoming::new(bytes, 4096, Duration::from_secs(10));
        let mut messages = Vec::new();
        loop {
            match incoming.next().await {
                Ok(message) => messages.push(message),
                Err(refusal) => return (messages, refusal),
            }
        }
    }

    #[tokio::test]
    async fn requests_and_data_come_in_order() {
        let bytes = b"\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x03abcSET_PARAMETER rtsp://h/a RTSP/1.0\r\n\
            CSeq: 2\r\nContent-Length: 4\r\n\r\nbodyRTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n";
        let (messages, refusal) = read_all(bytes).await;
        assert_eq!(refusal, Refusal::Gone);
        let [Inbound::Request(options), Inbound::Data(data), Inbound::Request(set), Inbound::Response] = &messages[..]
        else {
            panic!("{messages:?}")
        };
        assert_eq!((options.method(), &data[..], &set.body()[..]), (&Method::Options, &b"abc"[..], &b"body"[..]));
    }

    #[tokio::test]
    async fn what_is_no_rtsp_or_too_large_is_refused() {
        let head = |line: &str| format!("OPTIONS * RTSP/1.0\r\n{line}\r\n\r\n");
        let cases = [
            ("GET / HTTP/1.1\r\n\r\n".into(), Refusal::Malformed),
            ("\0\0\0\r\n\r\n".into(), Refusal::Malformed),
            ("DESCRIBE no-url RTSP/1.0\r\n\r\n".into(), Refusal::Malformed),
            (head("Content-Length: -1"), Refusal::Malformed),
            (head("Content-Length: 5000"), Refusal::TooLarge),
            (head("Content-Length: 18446744073709551615"), Refusal::TooLarge),
            (head(&vec!["a: b"; 300].join("\r\n")), Refusal::TooLarge),
            (head(&format!("a: {}", "b".repeat(5000))), Refusal::TooLarge),
            ("x".repeat(5000), Refusal::TooLarge),
            ("OPTIONS * RTSP/1.0\r\n".into(), Refusal::Gone),
        ];
        for (bytes, expected) in cases {
            let (messages, refusal) = read_all(bytes.as_bytes()).await;
            assert_eq!((messages.len(), refusal), (0, expected), "{bytes:.80}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_trickles_in_has_ten_seconds() {
        let (mut client, server) = tokio::io::duplex(4096);
        let mut incoming = Incoming::new(server, 4096, Duration::from_secs(10));
        let started = Instant::now();
        client.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").await.unwrap();
        assert!(incoming.next().await.is_ok());
        // Between messages there is no hurry here.
        assert!(tokio::time::timeout(Duration::from_secs(60), incoming.next()).await.is_err());
        client.write_all(b"OPT").await.unwrap();
        assert_eq!(incoming.next().await.unwrap_err(), Refusal::TooSlow);
        assert_eq!(started.elapsed(), Duration::from_secs(70));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in 0..4usize) {
            let starts: [&[u8]; 4] = [b"", b"$", b"SETUP rtsp://h/ RTSP/1.0\r\n", b"RTSP/1.0 200 "];
            let bytes = [starts[which], &bytes, b"\r\n\r\n"].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(read_all(&bytes));
        }
    }
}
