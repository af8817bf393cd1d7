//! Which sound each container carries as it is; what is made of the rest.

use std::sync::Arc;

use super::{Fmp4, MpegTs};
use crate::media::{AudioCodec, AudioConfig, AudioRequest, SoundSpec};

/// A container that has a place for sound beside pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Fragmented MP4, by itself or as the segments of HLS.
    Mp4,
    /// MPEG-TS.
    Ts,
    /// RTP.
    Rtsp,
}

/// The sound that goes into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// The source's own.
    Own(Arc<AudioConfig>),
    /// Made of it.
    Made(SoundSpec),
}

impl Carrier {
    /// Every container with its name in status.
    pub const ALL: [(&'static str, Self); 3] = [("mp4", Self::Mp4), ("ts", Self::Ts), ("rtsp", Self::Rtsp)];

    /// Whether the container carries `audio` as it is.
    pub fn carries(self, audio: &AudioConfig) -> bool {
        match (self, audio.codec) {
            (Self::Mp4, _) => Fmp4::carries_audio(audio),
            (Self::Ts, _) => MpegTs::carries_audio(audio),
            (Self::Rtsp, AudioCodec::Aac) => !audio.specific.is_empty(),
            (Self::Rtsp, AudioCodec::PcmMulaw | AudioCodec::PcmAlaw | AudioCodec::Opus) => true,
            (Self::Rtsp, AudioCodec::PcmS16le) => false,
        }
    }

    /// What the container gets of `source`; `None`: nothing.
    pub fn sound(self, request: AudioRequest, source: &Arc<AudioConfig>) -> Option<Sound> {
        let carries = self.carries(source);
        let made = || Sound::Made(SoundSpec::aac(source));
        match request {
            AudioRequest::None => None,
            AudioRequest::Copy if carries => Some(Sound::Own(source.clone())),
            AudioRequest::Aac if carries && source.codec == AudioCodec::Aac => Some(Sound::Own(source.clone())),
            AudioRequest::Copy | AudioRequest::Aac => Some(made()),
        }
    }
}

impl Sound {
    /// What its packets are to be read with.
    pub fn config(&self) -> Arc<AudioConfig> {
        match self {
            Self::Own(config) => config.clone(),
            Self::Made(spec) => Arc::new(spec.config()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn config(codec: AudioCodec) -> Arc<AudioConfig> {
        let (specific, rfc6381): (&'static [u8], _) = match codec {
            AudioCodec::Aac => (&[0x14, 0x08], "mp4a.40.2"),
            AudioCodec::Opus => (b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0", "opus"),
            _ => (b"", ""),
        };
        let (specific, rfc6381) = (Bytes::from_static(specific), rfc6381.to_owned());
        Arc::new(AudioConfig { codec, sample_rate: 16_000, channels: 1, specific, rfc6381 })
    }

    #[test]
    fn each_container_gets_what_it_carries() {
        use AudioCodec::{Aac, Opus, PcmAlaw, PcmMulaw, PcmS16le};
        let shown = |carrier: Carrier, request, codec| match carrier.sound(request, &config(codec)) {
            None => "-",
            Some(Sound::Own(_)) => "own",
            Some(Sound::Made(spec)) if spec == SoundSpec::aac(&config(codec)) => "aac",
            Some(Sound::Made(_)) => "?",
        };
        for (carrier, copies) in [
            (Carrier::Mp4, ["own", "aac", "aac", "own", "aac"]),
            (Carrier::Ts, ["own", "aac", "aac", "own", "aac"]),
            (Carrier::Rtsp, ["own", "own", "own", "own", "aac"]),
        ] {
            let codecs = [Aac, PcmMulaw, PcmAlaw, Opus, PcmS16le];
            assert_eq!(codecs.map(|codec| shown(carrier, AudioRequest::Copy, codec)), copies, "{carrier:?}");
            let aac = ["own", "aac", "aac", "aac", "aac"];
            assert_eq!(codecs.map(|codec| shown(carrier, AudioRequest::Aac, codec)), aac, "{carrier:?}");
            assert_eq!(codecs.map(|codec| shown(carrier, AudioRequest::None, codec)), ["-"; 5]);
        }
    }

    #[test]
    fn aac_without_its_configuration_is_made_anew() {
        let mut broken = AudioConfig::clone(&config(AudioCodec::Aac));
        broken.specific = Bytes::new();
        for (_, carrier) in Carrier::ALL {
            assert!(matches!(carrier.sound(AudioRequest::Copy, &Arc::new(broken.clone())), Some(Sound::Made(_))));
        }
    }
}
