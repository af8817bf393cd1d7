//! Packets from camshaft to a real ffmpeg, as MPEG-TS on its standard input.

use std::io::{self, Read, Write};
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, Failure};
use crate::outputs::Packets;
use crate::source::{End, Source, Wanted};

impl Wanted for Packets {
    type Media = Answer;

    fn open(&self, client: &Client, stream: &str, within: Duration) -> Result<Answer, Failure> {
        client.open(&format!("{stream}/{}", self.request()), within)
    }
}

/// Feeds until one side ends; MPEG-TS may be joined to what went before anywhere.
pub fn feed(source: &Source, packets: &Packets, mut answer: Answer, mut stdin: ChildStdin) -> End {
    let mut chunk = vec![0; 64 << 10];
    let mut last = Instant::now();
    loop {
        let end = match answer.read(&mut chunk) {
            Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
            Ok(count) => {
                if let Err(error) = stdin.write_all(chunk.get(..count).unwrap_or_default()) {
                    return End::Reader(error);
                }
                last = Instant::now();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        match source.reopen(packets, last, &end) {
            Some(next) => answer = next,
            None => return End::Lost,
        }
    }
}
