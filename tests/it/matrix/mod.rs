//! The fault matrix: one fault at a time in one of at least four running streams, all of them read as pictures and as
//! copies. The others must not notice, the hurt one must come back in time, and the service must be as small as before.
//!
//! Each group of rows runs on one service, one row after the other. `docs/reliability.md` lists every row.

mod bench;
mod cameras;
mod consumers;
mod ends;
mod figures;
mod hardware;
mod machine;
mod promises;
mod reader;
mod workers;

use std::time::{Duration, Instant};

/// One line of the matrix.
pub struct Row<T> {
    /// As `docs/reliability.md` names it.
    pub fault: &'static str,
    /// Whom it hurts.
    pub hurt: Hurt,
    /// The longest that the hurt stream's pictures may be away.
    pub bound: Duration,
    /// Makes the fault, sees that it has struck, and mends what would not mend itself. From the moment that it gives, the
    /// time without pictures counts.
    pub inject: fn(&T, &bench::Bench) -> Instant,
}

/// Who may notice a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurt {
    /// Nobody at all.
    Nobody,
    /// Who looks at this stream's pictures; its copies must not.
    Pictures(&'static str),
    /// All who read this stream.
    Stream(&'static str),
    /// All.
    Everybody,
}

impl Hurt {
    fn spares_pictures_of(self, stream: &str) -> bool {
        match self {
            Self::Nobody => true,
            Self::Pictures(hurt) | Self::Stream(hurt) => hurt != stream,
            Self::Everybody => false,
        }
    }

    fn spares_copies_of(self, stream: &str) -> bool {
        matches!(self, Self::Pictures(_)) || self.spares_pictures_of(stream)
    }
}

/// Death of a worker to the first picture, in software.
const DEATH: Duration = Duration::from_millis(1500);
/// A hang to the first picture, with the default watchdog of 5 s.
const HANG: Duration = Duration::from_millis(6500);
