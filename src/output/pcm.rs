//! Bare samples for detectors: headerless, or behind the header of a WAV file that never ends.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Flow, PacketMuxer};
use crate::error::Result;
use crate::media::{Packet, SoundSpec, TrackConfig};

/// A length that is not known: what ffmpeg writes into pipes, and readers take for "until the end".
const ENDLESS: u32 = u32::MAX;
/// `wFormatTag` of samples as they are (RFC 2361 §A).
const WAVE_FORMAT_PCM: u16 = 1;
const SAMPLE_BYTES: u16 = 2;

/// Samples of 16 bits, little-endian, channels interleaved.
#[derive(Debug)]
pub struct Pcm {
    spec: SoundSpec,
    content_type: String,
    header: Bytes,
}

impl Pcm {
    /// A WAV file (RIFF, Microsoft Multimedia Programming Interface 1.0 §3) without end.
    pub fn wav(spec: SoundSpec) -> Self {
        let mut header = BytesMut::with_capacity(44);
        header.put_slice(b"RIFF");
        header.put_u32_le(ENDLESS);
        header.put_slice(b"WAVEfmt ");
        header.put_u32_le(16);
        header.put_u16_le(WAVE_FORMAT_PCM);
        header.put_u16_le(spec.channels);
        header.put_u32_le(spec.sample_rate);
        header.put_u32_le(spec.sample_rate * u32::from(spec.channels * SAMPLE_BYTES));
        header.put_u16_le(spec.channels * SAMPLE_BYTES);
        header.put_u16_le(SAMPLE_BYTES * 8);
        header.put_slice(b"data");
        header.put_u32_le(ENDLESS);
        Self { spec, content_type: "audio/wav".to_owned(), header: header.freeze() }
    }

    /// Nothing but samples.
    pub fn bare(spec: SoundSpec) -> Self {
        Self { spec, content_type: "application/octet-stream".to_owned(), header: Bytes::new() }
    }
}

impl PacketMuxer for Pcm {
    fn content_type(&self) -> String {
        self.content_type.clone()
    }

    fn header(&self) -> Bytes {
        self.header.clone()
    }

    fn packet(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<Flow> {
        if let TrackConfig::Audio(config) = &packet.config
            && **config == self.spec.config()
        {
            out.put_slice(&packet.data);
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_file_without_end_has_the_header_that_ffmpeg_writes() {
        let header = Pcm::wav(SoundSpec::pcm(16_000, 1)).header();
        let expected =
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff";
        assert_eq!(header[..], expected[..]);
    }
}
