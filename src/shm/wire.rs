//! The messages, as `docs/shm.md` lays them out: of fixed size, in the byte order of the machine, which they never leave.

use crate::media::{FrameHeader, FrameRate, Geometry, PixelFormat};

/// What a request's `Upgrade` header names: the protocol and its version.
pub const PROTOCOL: &str = "camshaft-shm/1";
/// The version by itself, in every CONFIG.
const VERSION: u32 = 1;

/// Bytes of a message to the reader.
pub const MESSAGE_BYTES: usize = 64;
/// Bytes of a message from it.
pub const REQUEST_BYTES: usize = 16;

/// A message to the reader.
pub type Message = [u8; MESSAGE_BYTES];

const CONFIG: u32 = 1;
const FRAME: u32 = 2;
const END: u32 = 3;
const NEXT: u32 = 1;
const RELEASE: u32 = 2;

/// What lies in a reader's memory from now on; goes with its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Counts the memories of a reader, from 1.
    pub generation: u32,
    /// How many slots there are.
    pub slots: u32,
    /// Bytes from one slot to the next.
    pub slot_bytes: u64,
    /// Of the pixels.
    pub format: PixelFormat,
    /// Of the pictures.
    pub size: Geometry,
    /// The nominal rate.
    pub rate: FrameRate,
}

impl Layout {
    /// Bytes of a picture.
    pub fn frame_bytes(&self) -> usize {
        self.format.frame_bytes(self.size)
    }

    /// Bytes from one row of the first plane to the next.
    pub fn stride(&self) -> u32 {
        match self.format {
            PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Gray => self.size.width,
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => 3 * self.size.width,
        }
    }

    /// CONFIG.
    pub fn message(&self) -> Message {
        Writer::new(CONFIG, self.generation)
            .u32(self.slots)
            .u32(u32::from_le_bytes(fourcc(self.format)))
            .u32(self.size.width)
            .u32(self.size.height)
            .u32(self.stride())
            .u32(self.rate.num)
            .u32(self.rate.den)
            .u32(VERSION)
            .u64(self.slot_bytes)
            .u64(self.frame_bytes() as u64)
            .finish()
    }

    /// FRAME: a picture lies in `slot`. `sequence` counts what was made since the reader came, `dropped` of them were lost
    /// to it since the one before.
    pub fn frame(&self, slot: u32, header: &FrameHeader, sequence: u64, dropped: u64) -> Message {
        Writer::new(FRAME, self.generation)
            .u32(slot)
            .u32(self.stride())
            .u64(sequence)
            .u64(header.pts.0 as u64)
            .u64(header.wall.0 as u64)
            .u64(dropped)
            .u64(self.frame_bytes() as u64)
            .finish()
    }
}

/// V4L2's names of the formats (`V4L2_PIX_FMT_YUV420`, `_NV12`, `_GREY`, `_RGB24`, `_BGR24`).
fn fourcc(format: PixelFormat) -> [u8; 4] {
    *match format {
        PixelFormat::I420 => b"YU12",
        PixelFormat::Nv12 => b"NV12",
        PixelFormat::Gray => b"GREY",
        PixelFormat::Rgb24 => b"RGB3",
        PixelFormat::Bgr24 => b"BGR3",
    }
}

/// Why there are no more pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The reader hung up. It is told nothing.
    Left,
    /// The stream ended, or its source stayed away too long.
    Ended,
    /// The service stops.
    Shutdown,
    /// The reader took nothing for too long.
    Stalled,
    /// The reader broke the rules.
    Violation,
    /// Pictures became larger than what there is room for.
    Limit,
    /// A defect, or no memory.
    Failed,
}

impl Ending {
    /// END; `None` for who is not there to read it.
    pub fn message(self) -> Option<Message> {
        let reason = match self {
            Self::Left => return None,
            Self::Ended => 1,
            Self::Shutdown => 2,
            Self::Stalled => 3,
            Self::Violation => 4,
            Self::Limit => 5,
            Self::Failed => 6,
        };
        Some(Writer::new(END, 0).u32(reason).finish())
    }

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Ended => "ended",
            Self::Shutdown => "shutdown",
            Self::Stalled => "stalled",
            Self::Violation => "violation",
            Self::Limit => "limit",
            Self::Failed => "failed",
        }
    }
}

/// What a reader says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// It wants one more picture.
    Next,
    /// It is done with a slot.
    Release {
        /// Of the memory that the slot is in.
        generation: u32,
        /// Its number.
        slot: u32,
    },
}

impl Request {
    /// Reads a message of the reader's; `None` if it is none that there is.
    pub fn read(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        match *words {
            [kind, generation, slot, [0, 0, 0, 0]] => match (word(kind), word(generation), word(slot)) {
                (NEXT, 0, 0) => Some(Self::Next),
                (RELEASE, generation, slot) => Some(Self::Release { generation, slot }),
                _ => None,
            },
            _ => None,
        }
    }
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

/// Lays out a message, field by field.
struct Writer {
    message: Message,
    length: usize,
}

impl Writer {
    fn new(kind: u32, generation: u32) -> Self {
        Self { message: [0; MESSAGE_BYTES], length: 0 }.u32(kind).u32(generation)
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        let end = self.length + bytes.len();
        if let Some(place) = self.message.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
        }
        self.length = end;
        self
    }

    fn finish(self) -> Message {
        debug_assert!(self.length <= MESSAGE_BYTES);
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{MediaTime, WallClock};

    const LAYOUT: Layout = Layout {
        generation: 2,
        slots: 3,
        slot_bytes: 4096,
        format: PixelFormat::Nv12,
        size: Geometry { width: 33, height: 17 },
        rate: FrameRate { num: 5, den: 1 },
    };

    fn u32_at(message: &Message, at: usize) -> u32 {
        u32::from_ne_bytes(message[at..at + 4].try_into().unwrap())
    }

    fn u64_at(message: &Message, at: usize) -> u64 {
        u64::from_ne_bytes(message[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn fields_are_where_the_documentation_puts_them() {
        let config = LAYOUT.message();
        assert_eq!([0, 4, 8, 16, 20, 24, 28, 32, 36].map(|at| u32_at(&config, at)), [1, 2, 3, 33, 17, 33, 5, 1, 1]);
        assert_eq!(&config[12..16], b"NV12");
        assert_eq!((u64_at(&config, 40), u64_at(&config, 48)), (4096, 33 * 17 + 2 * 17 * 9));
        let header = FrameHeader { pts: MediaTime(-7), wall: WallClock(1_795_428_000_040_999), size: LAYOUT.size };
        let frame = LAYOUT.frame(1, &header, 41, 4);
        assert_eq!([0, 4, 8, 12].map(|at| u32_at(&frame, at)), [2, 2, 1, 33]);
        let words = [16, 24, 32, 40, 48].map(|at| u64_at(&frame, at) as i64);
        assert_eq!(words, [41, -7, 1_795_428_000_040_999, 4, 33 * 17 + 2 * 17 * 9]);
        let end = Ending::Stalled.message().unwrap();
        assert_eq!([0, 4, 8].map(|at| u32_at(&end, at)), [3, 0, 3]);
        assert_eq!(Ending::Left.message(), None);
    }

    #[test]
    fn rows_of_packed_pixels_are_three_times_as_long() {
        let stride = |format| Layout { format, ..LAYOUT }.stride();
        assert_eq!((stride(PixelFormat::Gray), stride(PixelFormat::Bgr24)), (33, 99));
    }

    #[test]
    fn requests_are_read_and_garbage_is_none() {
        let request = |words: [u32; 4]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            Request::read(&bytes.try_into().unwrap())
        };
        assert_eq!(request([1, 0, 0, 0]), Some(Request::Next));
        assert_eq!(request([2, 1, 5, 0]), Some(Request::Release { generation: 1, slot: 5 }));
        for garbage in [[0; 4], [3, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [2, 1, 5, 1], [u32::MAX; 4]] {
            assert_eq!(request(garbage), None, "{garbage:?}");
        }
    }
}
