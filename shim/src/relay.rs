//! Pictures and samples from camshaft to standard output, whole ones only.

use std::io::{self, Read, Write};
use std::time::Instant;

use crate::client::Answer;
use crate::raw::Raw;
use crate::source::{End, Source};

/// Relays until one side ends. A piece that is cut off on the way is dropped, as half of one would shift all that
/// follow.
pub fn relay(source: &Source, raw: &Raw, mut answer: Answer) -> End {
    let mut piece = vec![0; raw.bytes()];
    let mut output = io::stdout().lock();
    let mut last = Instant::now();
    loop {
        match answer.read_exact(&mut piece) {
            Ok(()) => {
                if let Err(error) = output.write_all(&piece).and_then(|()| output.flush()) {
                    return End::Reader(error);
                }
                last = Instant::now();
            }
            Err(error) => match source.reopen(&raw.request(), last, &error) {
                Some(next) => answer = next,
                None => return End::Lost,
            },
        }
    }
}
