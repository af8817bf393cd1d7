//! Pictures from camshaft to standard output, whole ones only.

use std::io::{self, Read, Write};
use std::time::Instant;

use crate::client::Answer;
use crate::outputs::Pictures;
use crate::source::{End, Source};

/// Relays until one side ends. A picture that is cut off on the way is dropped, as half of one would shift all that
/// follow.
pub fn relay(source: &Source, pictures: &Pictures, mut answer: Answer) -> End {
    let mut picture = vec![0; pictures.bytes()];
    let mut output = io::stdout().lock();
    let mut last = Instant::now();
    loop {
        match answer.read_exact(&mut picture) {
            Ok(()) => {
                if let Err(error) = output.write_all(&picture).and_then(|()| output.flush()) {
                    return End::Reader(error);
                }
                last = Instant::now();
            }
            Err(error) => match source.reopen(&pictures.request(), last, &error) {
                Some(next) => answer = next,
                None => return End::Lost,
            },
        }
    }
}
