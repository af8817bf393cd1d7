//! Pictures to JPEG.

use camshaft::media::{Geometry, MAX_PIXELS, MediaTime};
use ffmpeg_next::ffi::{self, AVCodecID, AVColorRange, AVPixelFormat};

use super::codec::{Codec, Output};
use super::device::WaitClock;
use super::error::{Error, Result};
use super::frame::{ColorTags, Frame, PoolId};
use super::packet::Packet;

/// Makes baseline JPEGs (4:2:0, full range, JFIF) of one size.
pub struct JpegEncoder {
    codec: Codec,
    size: Geometry,
    input: Frame,
    packet: Packet,
}

impl JpegEncoder {
    /// An encoder of pictures of `size`.
    pub fn open(size: Geometry) -> Result<Self> {
        let mut codec = Codec::encoder("mjpeg")?;
        let settings = codec.settings();
        (settings.width, settings.height) = (size.width as i32, size.height as i32);
        settings.pix_fmt = AVPixelFormat::AV_PIX_FMT_YUV420P;
        settings.color_range = AVColorRange::AVCOL_RANGE_JPEG;
        (settings.time_base.num, settings.time_base.den) = (1, MediaTime::HZ as i32);
        settings.thread_count = 1;
        settings.flags |= ffi::AV_CODEC_FLAG_QSCALE as i32;
        // The quantiser of each picture is set with it; only the encoder's own floor of 2 must go.
        settings.qmin = 1;
        // Tables fitted to each picture save 5 % of the bytes and cost 20 % more time.
        codec.open(&[("huffman", "default".into())])?;
        Ok(Self { codec, size, input: Frame::empty()?, packet: Packet::empty()? })
    }

    /// The size of the pictures.
    pub fn size(&self) -> Geometry {
        self.size
    }

    /// The JPEG of `frame`, full-range I420 of the encoder's size, in `quality` 1 (worst) to 100 (best).
    pub fn encode(&mut self, frame: &Frame, quality: u8) -> Result<&[u8]> {
        self.input.refer_to(frame)?;
        // A decoder may call the same layout by FFmpeg's deprecated name for it.
        self.input.describe(AVPixelFormat::AV_PIX_FMT_YUV420P, ColorTags::UNSPECIFIED.as_full());
        let input = self.input.get_mut();
        input.quality = quantiser(quality) * ffi::FF_QP2LAMBDA;
        input.pts = ffi::AV_NOPTS_VALUE;
        self.codec.send_frame(Some(&self.input))?;
        self.input.clear();
        match self.codec.receive_packet(&mut self.packet)? {
            Output::Ready => Ok(self.packet.data()),
            Output::Nothing => Err(Error::Unsupported("the JPEG encoder gave no picture".into())),
        }
    }

    /// The JPEG that [`JpegEncoder::encode`] made last.
    pub fn last(&self) -> &[u8] {
        self.packet.data()
    }
}

/// Makes JPEGs of surfaces, on their device.
pub struct SurfaceJpegEncoder {
    codec: Codec,
    pool: Option<PoolId>,
    wait: WaitClock,
    packet: Packet,
}

impl SurfaceJpegEncoder {
    /// An encoder of full-range NV12 surfaces from the pool of `example`, in `quality` 1 (worst) to 100 (best).
    ///
    /// # Errors
    /// [`Error::Device`] if the driver does not do it.
    pub fn open(example: &Frame, wait: &WaitClock, quality: u8) -> Result<Self> {
        let mut codec = Codec::encoder("mjpeg_vaapi")?;
        codec.set_pool(example)?;
        let settings = codec.settings();
        let size = example.size();
        (settings.width, settings.height) = (size.width as i32, size.height as i32);
        settings.pix_fmt = AVPixelFormat::AV_PIX_FMT_VAAPI;
        settings.color_range = AVColorRange::AVCOL_RANGE_JPEG;
        (settings.time_base.num, settings.time_base.den) = (1, MediaTime::HZ as i32);
        settings.global_quality = quality.clamp(1, 100).into();
        codec.open(&[("jfif", "1".into()), ("async_depth", "1".into())]).map_err(Error::of_device)?;
        Ok(Self { codec, pool: example.pool(), wait: wait.clone(), packet: Packet::empty()? })
    }

    /// Whether this encoder was made for surfaces like `surface`.
    pub fn takes(&self, surface: &Frame) -> bool {
        surface.pool() == self.pool
    }

    /// The JPEG of `surface`.
    pub fn encode(&mut self, surface: &Frame) -> Result<&[u8]> {
        let Self { codec, wait, packet, .. } = self;
        codec.send_frame(Some(surface)).map_err(Error::of_device)?;
        match wait.time(|| codec.receive_packet(packet)).map_err(Error::of_device)? {
            Output::Ready if !packet.data().is_empty() => Ok(packet.data()),
            _ => Err(Error::Device("the device's JPEG encoder gave no picture".into())),
        }
    }

    /// The JPEG that [`SurfaceJpegEncoder::encode`] made last.
    pub fn last(&self) -> &[u8] {
        self.packet.data()
    }
}

/// The picture in a baseline JPEG, 4:2:0 and full range.
pub fn decode_jpeg(jpeg: &[u8]) -> Result<Frame> {
    let mut codec = Codec::decoder(AVCodecID::AV_CODEC_ID_MJPEG, "mjpeg")?;
    let settings = codec.settings();
    settings.thread_count = 1;
    settings.max_pixels = MAX_PIXELS as i64;
    codec.open(&[])?;
    let mut packet = Packet::empty()?;
    packet.renew(jpeg.len())?.copy_from_slice(jpeg);
    codec.send_packet(Some(&packet))?;
    let mut frame = Frame::empty()?;
    match codec.receive_frame(&mut frame)? {
        Output::Ready => Ok(frame),
        Output::Nothing => Err(Error::Unsupported("no picture is in the JPEG".into())),
    }
}

/// FFmpeg's quantiser scale, 1–31, that comes closest to libjpeg's quality 1–100.
///
/// FFmpeg's table times q/8 has the mean of libjpeg's table at 6.5 q percent, and libjpeg scales its table to
/// 200 − 2 quality percent from 50 on and 5000 / quality below.
pub(super) fn quantiser(quality: u8) -> i32 {
    let quality = f64::from(quality.clamp(1, 100));
    let percent = if quality < 50.0 { 5000.0 / quality } else { 200.0 - 2.0 * quality };
    (percent / 6.5).round().clamp(1.0, 31.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use camshaft::media::PixelFormat;

    #[test]
    fn better_quality_is_a_finer_quantiser() {
        let quantisers: Vec<_> = (1..=100).map(quantiser).collect();
        assert!(quantisers.is_sorted_by(|worse, better| worse >= better));
        assert_eq!((quantiser(0), quantiser(1), quantiser(75), quantiser(100), quantiser(255)), (31, 31, 8, 1, 1));
    }

    #[test]
    fn odd_sizes_are_jpegs_too() {
        for size in [Geometry::new(33, 17), Geometry::new(1, 1), Geometry::new(320, 180)] {
            let mut encoder = JpegEncoder::open(size).unwrap();
            let mut frame = Frame::i420(size).unwrap();
            let bytes = PixelFormat::I420.frame_bytes(size);
            frame.draw_i420(&vec![128; bytes]).unwrap();
            let jpeg = encoder.encode(&frame, 80).unwrap().to_vec();
            assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "{size}");
            assert_eq!(encoder.last(), jpeg);
        }
    }

    #[test]
    fn quality_is_chosen_for_each_picture() {
        let size = Geometry::new(64, 64);
        let mut frame = Frame::i420(size).unwrap();
        let grain = |index: u32| (index.wrapping_mul(2_654_435_761) >> 26) as u8 + 96;
        let picture: Vec<u8> = (0..PixelFormat::I420.frame_bytes(size) as u32).map(grain).collect();
        frame.draw_i420(&picture).unwrap();
        let mut encoder = JpegEncoder::open(size).unwrap();
        let mut length = |quality| encoder.encode(&frame, quality).unwrap().len();
        let (good, bad, good_again) = (length(95), length(10), length(95));
        assert!(good > 2 * bad, "{good} {bad}");
        assert_eq!(good, good_again);
    }
}
