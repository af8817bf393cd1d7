//! Readers that note when each picture or packet came, and which it was.

use camshaft::media::Geometry;
use camshaft::media::pattern::read_number;
use mpeg2ts::ts::{ReadTsPacket, TsPacketReader, TsPayload};
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Pictures as the bench asks for them: small, since only the number matters.
pub const SIZE: (u32, u32) = (160, 90);

/// A picture or packet that came.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When it was read.
    pub at: Instant,
    /// Its place on the stream's timeline, in seconds.
    pub pts: f64,
    /// The number drawn in the picture; of packets none.
    pub number: Option<u32>,
    /// How many the service says that it left out before this one.
    pub dropped: u64,
}

/// What a reader has seen so far.
#[derive(Clone, Default)]
pub struct Sightings(Arc<Mutex<Vec<Seen>>>);

impl Sightings {
    /// Reads a `multipart/x-mixed-replace` of gray pictures of [`SIZE`] on a thread, until it ends.
    pub fn of_pictures(body: impl Read + Send + 'static) -> Self {
        let sightings = Self::default();
        let mut body = BufReader::new(body);
        sightings.follow(move || read_part(&mut body));
        sightings
    }

    /// Reads the video packets of an MPEG transport stream on a thread, until it ends.
    pub fn of_packets(body: impl Read + Send + 'static) -> Self {
        let sightings = Self::default();
        let mut packets = TsPacketReader::new(BufReader::new(body));
        sightings.follow(move || {
            loop {
                if let Some(TsPayload::PesStart(pes)) = packets.read_ts_packet().ok()??.payload {
                    let pts = pes.header.pts?.as_u64() as f64 / 90_000.0;
                    return Some(Seen { at: Instant::now(), pts, number: None, dropped: 0 });
                }
            }
        });
        sightings
    }

    fn follow(&self, mut next: impl FnMut() -> Option<Seen> + Send + 'static) {
        let seen = self.0.clone();
        std::thread::spawn(move || {
            while let Some(one) = next() {
                seen.lock().unwrap().push(one);
            }
        });
    }

    /// How many so far.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those behind the first `count`, and the one before them.
    pub fn since(&self, count: usize) -> Vec<Seen> {
        self.0.lock().unwrap()[count.saturating_sub(1)..].to_vec()
    }
}

/// The longest wait for the next one, the wait from `start` to the first included.
pub fn longest_wait(seen: &[Seen], start: Instant) -> Duration {
    let times = seen.iter().map(|one| one.at).filter(|at| *at > start);
    let times: Vec<Instant> = std::iter::once(start).chain(times).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// A part with its headers; see `docs/api.md`.
fn read_part(body: &mut impl BufRead) -> Option<Seen> {
    let (mut length, mut pts, mut dropped) = (None, None, None);
    loop {
        let mut line = String::new();
        if body.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() && length.is_some() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok(),
            "x-pts" => pts = value.parse().ok(),
            "x-dropped" => dropped = value.parse().ok(),
            _ => {}
        }
    }
    let mut luma = vec![0; length?];
    body.read_exact(&mut luma).ok()?;
    let size = Geometry::new(SIZE.0, SIZE.1);
    let number = read_number(&luma, size, size.width as usize);
    Some(Seen { at: Instant::now(), pts: pts?, number, dropped: dropped? })
}
