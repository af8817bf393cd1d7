//! `live.wav` and `live.s16le`: sound alone, for detectors.

use axum::response::Response;

use crate::error::Result;
use crate::http::{ApiState, body};
use crate::media::SoundSpec;
use crate::media::query::whole;
use crate::output::Pcm;
use crate::query::Query;
use crate::stream::Stream;

/// A form for sound alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SoundContainer {
    /// A WAV file without end.
    Wav,
    /// Headerless samples.
    S16le,
}

/// What audio detectors are trained on.
const DEFAULT_RATE: u32 = 16_000;
const RATE: &str = "rate";
const CHANNELS: &str = "channels";

impl SoundContainer {
    /// Every form, by extension.
    pub(super) const ALL: [(&'static str, Self); 2] = [("wav", Self::Wav), ("s16le", Self::S16le)];

    /// The form of `live.{extension}`, if it is one of sound.
    pub(super) fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == extension).map(|(_, container)| *container)
    }

    /// A response with the sound of `stream` that `spec` describes.
    ///
    /// # Errors
    /// Those of [`Stream::sound`].
    pub(super) async fn live(self, state: &ApiState, stream: &Stream, spec: SoundSpec) -> Result<Response> {
        let writer = match self {
            Self::Wav => Pcm::wav(spec),
            Self::S16le => Pcm::bare(spec),
        };
        body::packets(stream.sound(spec).await?, Box::new(writer), &state.delivery).await
    }
}

/// Reads the query of a URL for sound.
///
/// # Errors
/// Every parameter that is unknown or malformed.
pub(super) fn parse(query: Option<&str>) -> Result<SoundSpec> {
    let mut query = Query::read(query, &[RATE, CHANNELS])?;
    let rates = |text: &str| whole(text, SoundSpec::PCM_RATE_MIN, SoundSpec::PCM_RATE_MAX);
    let rate = query.take(RATE, rates).unwrap_or(DEFAULT_RATE);
    let channels = query.take(CHANNELS, |text| whole(text, 1, 2)).unwrap_or(1);
    query.finish(Some(SoundSpec::pcm(rate, channels as u16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_get_what_they_expect_unless_they_say_otherwise() {
        assert_eq!(parse(None).unwrap(), SoundSpec::pcm(16_000, 1));
        assert_eq!(parse(Some("rate=48000&channels=2")).unwrap(), SoundSpec::pcm(48_000, 2));
    }

    #[test]
    fn impossible_sounds_are_named_all_at_once() {
        let error = parse(Some("rate=0&channels=99&width=5")).unwrap_err();
        assert_eq!(error.kind().status(), 400);
        for word in ["'rate'", "8000", "48000", "'channels'", "'width'"] {
            assert!(error.message().contains(word), "{word}: {error}");
        }
    }
}
