//! Baseline JPEG: the application's own header, or none, and a scan made with its quantization tables.

use jpeg_encoder::{ImageBuffer, JpegColorType, QuantizationTableType, SamplingFactor};

use super::Coded;
use crate::buffer::{Submitted, parameters};
use crate::decode::ZIGZAG_8X8;
use crate::surface::Surface;
use crate::va::*;

/// Encodes `input` with 4:2:0 chroma.
///
/// # Errors
/// Those of buffers that are missing or make no sense; [`Status::ENCODING_ERROR`].
pub(crate) fn encode(submitted: &[Submitted], input: &Surface) -> Result<Coded> {
    let picture: VAEncPictureParameterBufferJPEG = parameters(submitted, VAEncPictureParameterBufferType)?;
    let tables: VAQMatrixBufferJPEG = parameters(submitted, VAQMatrixBufferType)?;
    if input.layout.format.fourcc != VA_FOURCC_NV12 {
        return Err(Status::UNSUPPORTED_RT_FORMAT);
    }
    let luma = scaled_table(&tables.lum_quantiser_matrix, picture.quality);
    let chroma = if tables.load_chroma_quantiser_matrix != 0 {
        scaled_table(&tables.chroma_quantiser_matrix, picture.quality)
    } else {
        luma.clone()
    };
    let pixels = Pixels::read(input, picture.picture_width, picture.picture_height)?;
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 100);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_quantization_tables(QuantizationTableType::Custom(luma), QuantizationTableType::Custom(chroma));
    encoder.encode_image(pixels).map_err(|_| Status::ENCODING_ERROR)?;

    let mut bytes = packed_header(submitted);
    let scan = if bytes.is_empty() { 0 } else { scan_at(&file).ok_or(Status::ENCODING_ERROR)? };
    bytes.extend_from_slice(&file[scan..]);
    Ok(Coded { buffer: picture.coded_buf, bytes, status: 0 })
}

/// A table in raster order with `quality` applied, as libjpeg does it. VA-API has tables in zigzag order.
fn scaled_table(zigzag: &[u8; 64], quality: u8) -> Box<[u16; 64]> {
    let quality = if quality == 0 { 50 } else { u32::from(quality).min(100) };
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    let mut table = Box::new([0; 64]);
    for (value, at) in zigzag.iter().zip(ZIGZAG_8X8) {
        table[at] = ((u32::from(*value) * percent + 50) / 100).clamp(1, 255) as u16;
    }
    table
}

fn packed_header(submitted: &[Submitted]) -> Vec<u8> {
    let told: Option<VAEncPackedHeaderParameterBuffer> =
        crate::buffer::optional_parameters(submitted, VAEncPackedHeaderParameterBufferType);
    let data = submitted.iter().find(|buffer| buffer.kind == VAEncPackedHeaderDataBufferType);
    match (told, data) {
        (Some(told), Some(data)) => data.bytes[..(told.bit_length.div_ceil(8) as usize).min(data.bytes.len())].to_vec(),
        _ => Vec::new(),
    }
}

/// Where the entropy-coded data of a file begins: behind the segment of SOS.
fn scan_at(file: &[u8]) -> Option<usize> {
    const SOS: u8 = 0xda;
    let mut at = 2;
    loop {
        let [_, marker, high, low] = *file.get(at..at + 4)?.first_chunk::<4>()?;
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == SOS {
            return Some(at);
        }
    }
}

/// A copy of an NV12 picture.
struct Pixels {
    width: u16,
    height: u16,
    luma: Vec<u8>,
    luma_pitch: usize,
    chroma: Vec<u8>,
    chroma_pitch: usize,
}

impl Pixels {
    fn read(surface: &Surface, width: u16, height: u16) -> Result<Self> {
        let layout = &surface.layout;
        if width == 0 || height == 0 || u32::from(width) > layout.width || u32::from(height) > layout.height {
            return Err(Status::INVALID_PARAMETER);
        }
        let guard = surface.read();
        let mut luma = surface.memory.copy_out(layout.size);
        drop(guard);
        let chroma = luma.split_off(layout.offsets[1] as usize);
        Ok(Self {
            width,
            height,
            luma,
            luma_pitch: layout.pitches[0] as usize,
            chroma,
            chroma_pitch: layout.pitches[1] as usize,
        })
    }
}

impl ImageBuffer for Pixels {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    /// One row at full size: the encoder averages four equal chroma samples to one again.
    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let y = usize::from(y);
        let width = usize::from(self.width);
        let [luma, blue, red, _] = buffers;
        luma.extend_from_slice(&self.luma[y * self.luma_pitch..][..width]);
        let pairs = &self.chroma[y / 2 * self.chroma_pitch..][..width.next_multiple_of(2)];
        for pair in pairs.chunks_exact(2) {
            blue.extend_from_slice(&[pair[0]; 2]);
            red.extend_from_slice(&[pair[1]; 2]);
        }
        blue.truncate(luma.len());
        red.truncate(luma.len());
    }
}
