//! How often a rendition has a picture.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::FrameRate;

/// Which of the source's pictures a rendition has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cadence {
    /// Every picture of the source.
    #[default]
    Every,
    /// Pictures on the fixed grid of this rate.
    Fps(FrameRate),
    /// Keyframes only: what costs least to decode.
    Keyframes,
}

impl Cadence {
    /// Stands for the rate of keyframes where a number must be given: nobody knows the next one before it comes.
    const OF_KEYFRAMES: FrameRate = FrameRate { num: 1, den: 1 };

    /// The rate on whose grid pictures are picked.
    pub fn grid(self) -> Option<FrameRate> {
        match self {
            Self::Fps(rate) => Some(rate),
            Self::Every | Self::Keyframes => None,
        }
    }

    /// Pictures a second, of a source with that rate: exact on a grid, a guess otherwise.
    pub fn nominal(self, source: FrameRate) -> FrameRate {
        match self {
            Self::Every => source,
            Self::Fps(rate) => rate,
            Self::Keyframes => Self::OF_KEYFRAMES,
        }
    }
}

impl fmt::Display for Cadence {
    /// As in a URL: `5`, `keyframes`, or `every`, which is what a URL without `fps` means.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("every"),
            Self::Fps(rate) => rate.fmt(f),
            Self::Keyframes => f.write_str("keyframes"),
        }
    }
}

impl FromStr for Cadence {
    type Err = String;

    /// Reads `keyframes` or what [`FrameRate`] reads.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "keyframes" { Ok(Self::Keyframes) } else { text.parse().map(Self::Fps) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_a_rate() {
        assert_eq!("keyframes".parse(), Ok(Cadence::Keyframes));
        assert_eq!("12.5".parse::<Cadence>().unwrap().to_string(), "12.5");
        assert!("every".parse::<Cadence>().is_err(), "that is said by saying nothing");
        let source = FrameRate { num: 25, den: 1 };
        assert_eq!(Cadence::Every.nominal(source), source);
    }
}
