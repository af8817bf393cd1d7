//! What the rows measured, told to who runs them with `--nocapture`.

use std::time::Duration;

/// Notes how long the hurt stream was without pictures.
pub fn note(fault: &str, away: Duration) {
    println!("figure: {fault}: {:.2} s", away.as_secs_f64());
}
