//! Pictures and samples from camshaft to standard output, whole ones only.

use std::io::{self, Write};
use std::time::Instant;

use crate::pieces::Pieces;
use crate::raw::Raw;
use crate::source::{End, Source};

/// Relays until one side ends. A piece that is cut off on the way is dropped, as half of one would shift all that
/// follow.
pub fn relay(source: &Source, raw: &Raw, mut pieces: Pieces) -> End {
    let mut piece = vec![0; raw.bytes()];
    let mut output = io::stdout().lock();
    let mut last = Instant::now();
    loop {
        match pieces.read(&mut piece) {
            Ok(()) => {
                if let Err(error) = output.write_all(&piece).and_then(|()| output.flush()) {
                    return End::Reader(error);
                }
                last = Instant::now();
            }
            Err(error) => match source.reopen(raw, last, &error) {
                Some(next) => pieces = next,
                None => return End::Lost,
            },
        }
    }
}
