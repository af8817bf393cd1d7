//! Raw pictures through shared memory: the service's side of the contract that `docs/shm.md` describes.
//!
//! Each reader has a connection over the Unix socket and memory of its own, cut into slots. A picture is written into a free
//! slot and announced by a message; the slot is the reader's until it gives it back. What a reader does to its memory
//! or with its messages concerns nobody else.

mod connection;
mod memory;
mod pool;
mod session;
mod slots;
mod wire;

pub use connection::Connection;
pub use pool::{Pool, Share};
pub use session::{Session, SessionOptions};
pub use wire::PROTOCOL;

/// Slots of a reader that names no number: one that it reads, one that waits for it, one that is being written.
pub const SLOTS: u32 = 3;
/// The most slots that a reader may have.
pub const SLOTS_MAX: u32 = 16;
/// Slots begin at multiples of this many bytes.
const ALIGNMENT: u64 = 4096;

/// Bytes of a slot for pictures of `frame_bytes`.
pub fn slot_bytes(frame_bytes: usize) -> u64 {
    (frame_bytes as u64).max(1).next_multiple_of(ALIGNMENT)
}
