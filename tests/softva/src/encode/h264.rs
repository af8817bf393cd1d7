//! H.264: libx264's slice data under the application's slice header.
//!
//! The application's packed SPS, PPS, SEI and slice header go into the stream as they are, but for the end of the slice
//! header, which says with what quantizer and filter libx264 worked. So what the application has written must be right, or
//! the stream does not decode. B pictures are coded as intra pictures, by an encoder of their own, since libx264 would
//! want to choose their references itself.

use super::Coded;
use crate::av::{Encoder, EncoderSettings, Picture, RateControl};
use crate::bits::{BitReader, BitWriter, append_unit, unescape, units};
use crate::buffer::{Submitted, parameters};
use crate::h264::{Pps, SliceHeader, SliceType, Sps};
use crate::surface::Surface;
use crate::va::*;

/// The encoder of a context.
#[derive(Debug)]
pub(crate) struct H264Encoder {
    /// VA_RC_*.
    rate_control: u32,
    sequence: Option<VAEncSequenceParameterBufferH264>,
    rate: Rate,
    /// For I and P pictures.
    references: Option<Source>,
    /// For B pictures.
    others: Option<Source>,
}

/// What miscellaneous parameters have said so far.
#[derive(Clone, Copy, Debug)]
struct Rate {
    bits_per_second: u32,
    target_percentage: u32,
    quantizers: (u32, u32),
    buffer: u32,
    frame_rate: (u32, u32),
}

/// An encoder and how its slice headers are to be read.
#[derive(Debug)]
struct Source {
    encoder: Encoder,
    sps: Sps,
    pps: Pps,
}

const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_SLICES: [u8; 2] = [1, 5];

impl H264Encoder {
    pub(crate) fn new(rate_control: u32) -> Self {
        let rate =
            Rate { bits_per_second: 0, target_percentage: 100, quantizers: (0, 0), buffer: 0, frame_rate: (25, 1) };
        Self { rate_control, sequence: None, rate, references: None, others: None }
    }

    /// Encodes `input`.
    ///
    /// # Errors
    /// Those of buffers that are missing or make no sense; [`Status::ENCODING_ERROR`].
    pub(crate) fn encode(&mut self, submitted: &[Submitted], input: &Surface) -> Result<Coded> {
        for buffer in submitted {
            match buffer.kind {
                kind if kind == VAEncSequenceParameterBufferType => self.sequence = buffer.read(),
                kind if kind == VAEncMiscParameterBufferType => self.rate.read(&buffer.bytes),
                _ => {}
            }
        }
        let sequence = self.sequence.ok_or(Status::INVALID_PARAMETER)?;
        let picture: VAEncPictureParameterBufferH264 = parameters(submitted, VAEncPictureParameterBufferType)?;
        let slice: VAEncSliceParameterBufferH264 = parameters(submitted, VAEncSliceParameterBufferType)?;
        let packed = PackedHeaders::of(submitted);
        let header_bytes = packed.slice.ok_or(Status::INVALID_PARAMETER)?;
        let (sps, pps) = application_sets(&sequence, &picture);
        let header = unescape(units(header_bytes).first().ok_or(Status::INVALID_PARAMETER)?);
        let is_b = slice.slice_type % 5 == 1;
        let is_intra = slice.slice_type % 5 == 2;

        let rate_control = self.rate_control(i32::from(picture.pic_init_qp) + i32::from(slice.slice_qp_delta));
        let settings = self.settings(&sequence, &picture, rate_control);
        let source = if is_b { &mut self.others } else { &mut self.references };
        if source.is_none() {
            *source = Some(Source::open(&settings)?);
        }
        let source = source.as_mut().ok_or(Status::ENCODING_ERROR)?;
        let pixels = padded(input, settings.width, settings.height)?;
        let guard = input.write();
        pixels.replicate_edges(input);
        let encoded = source.encoder.encode(&pixels.coded, is_b || is_intra, rate_control)?;
        drop(guard);

        let mut bytes = packed.others;
        for unit in units(&encoded) {
            if unit.first().is_some_and(|byte| NAL_SLICES.contains(&(byte & 0x1f))) {
                let spliced = source.splice(&unescape(unit), &header, &sps, &pps)?;
                append_unit(&mut bytes, &spliced);
            }
        }
        Ok(Coded { buffer: picture.coded_buf, bytes, status: 0 })
    }

    fn rate_control(&self, quantizer: i32) -> RateControl {
        let most = self.rate.bits_per_second;
        if self.rate_control == VA_RC_CQP || most == 0 {
            return RateControl::Quantizer(quantizer.clamp(1, 51));
        }
        let average = u64::from(most) * u64::from(self.rate.target_percentage) / 100;
        let buffer = if self.rate.buffer > 0 { self.rate.buffer } else { most };
        RateControl::Bitrate { average: average as u32, most, buffer }
    }

    fn settings(
        &self,
        sequence: &VAEncSequenceParameterBufferH264,
        picture: &VAEncPictureParameterBufferH264,
        rate_control: RateControl,
    ) -> EncoderSettings {
        // SAFETY: the other side of the union is the same bits as an integer.
        let fields = unsafe { picture.pic_fields.bits };
        EncoderSettings {
            width: u32::from(sequence.picture_width_in_mbs) * 16,
            height: u32::from(sequence.picture_height_in_mbs) * 16,
            frame_rate: self.rate.frame_rate,
            has_cabac: fields.entropy_coding_mode_flag() != 0,
            has_8x8_transform: fields.transform_8x8_mode_flag() != 0,
            has_constrained_intra: fields.constrained_intra_pred_flag() != 0,
            chroma_qp_offset: picture.chroma_qp_index_offset.into(),
            quantizers: self.rate.quantizers,
            rate_control,
        }
    }
}

impl Rate {
    /// Takes what a VAEncMiscParameterBuffer says.
    fn read(&mut self, buffer: &[u8]) {
        let Some(kind) = read_plain::<u32>(buffer) else { return };
        let data = &buffer[size_of::<VAEncMiscParameterType>()..];
        #[allow(non_upper_case_globals)] // libva's names
        match kind as VAEncMiscParameterType {
            VAEncMiscParameterTypeRateControl => {
                let Some(rate) = read_plain::<VAEncMiscParameterRateControl>(data) else { return };
                self.bits_per_second = rate.bits_per_second;
                self.target_percentage = rate.target_percentage.clamp(1, 100);
                self.quantizers = (rate.min_qp, rate.max_qp);
            }
            VAEncMiscParameterTypeFrameRate => {
                let Some(rate) = read_plain::<VAEncMiscParameterFrameRate>(data) else { return };
                self.frame_rate = ((rate.framerate & 0xffff).max(1), (rate.framerate >> 16).max(1));
            }
            VAEncMiscParameterTypeHRD => {
                let Some(buffer) = read_plain::<VAEncMiscParameterHRD>(data) else { return };
                self.buffer = buffer.buffer_size;
            }
            _ => {}
        }
    }
}

/// Headers that the application wrote itself.
struct PackedHeaders<'a> {
    /// The slice header, with a start code.
    slice: Option<&'a [u8]>,
    /// All before it, with start codes.
    others: Vec<u8>,
}

impl<'a> PackedHeaders<'a> {
    fn of(submitted: &'a [Submitted]) -> Self {
        let mut headers = Self { slice: None, others: Vec::new() };
        let mut next: Option<VAEncPackedHeaderParameterBuffer> = None;
        for buffer in submitted {
            if buffer.kind == VAEncPackedHeaderParameterBufferType {
                next = buffer.read();
            }
            if buffer.kind != VAEncPackedHeaderDataBufferType {
                continue;
            }
            let Some(told) = next.take() else { continue };
            let length = (told.bit_length.div_ceil(8) as usize).min(buffer.bytes.len());
            let bytes = &buffer.bytes[..length];
            if told.type_ == VAEncPackedHeaderSlice {
                headers.slice = Some(bytes);
            } else {
                headers.others.extend_from_slice(bytes);
            }
        }
        headers
    }
}

/// What the application's slice headers depend on.
fn application_sets(
    sequence: &VAEncSequenceParameterBufferH264,
    picture: &VAEncPictureParameterBufferH264,
) -> (Sps, Pps) {
    // SAFETY: the other side of the union is the same bits as an integer.
    let fields = unsafe { sequence.seq_fields.bits };
    let sps = Sps {
        frame_num_bits: fields.log2_max_frame_num_minus4() + 4,
        pic_order_cnt_type: fields.pic_order_cnt_type(),
        pic_order_cnt_lsb_bits: fields.log2_max_pic_order_cnt_lsb_minus4() + 4,
        delta_pic_order_always_zero: fields.delta_pic_order_always_zero_flag() != 0,
        frame_mbs_only: fields.frame_mbs_only_flag() != 0,
    };
    // SAFETY: as above.
    let fields = unsafe { picture.pic_fields.bits };
    let pps = Pps {
        has_cabac: fields.entropy_coding_mode_flag() != 0,
        has_bottom_field_order: fields.pic_order_present_flag() != 0,
        weighted_p: fields.weighted_pred_flag() != 0,
        weighted_b: fields.weighted_bipred_idc() == 1,
        initial_qp: picture.pic_init_qp.into(),
        has_deblocking_control: fields.deblocking_filter_control_present_flag() != 0,
        has_redundant_pictures: fields.redundant_pic_cnt_present_flag() != 0,
    };
    (sps, pps)
}

impl Source {
    fn open(settings: &EncoderSettings) -> Result<Self> {
        let encoder = Encoder::open(settings)?;
        let sets = encoder.parameter_sets();
        let payloads: Vec<Vec<u8>> = units(&sets).into_iter().map(unescape).collect();
        let payload = |kind: u8| {
            let found = payloads.iter().find(|unit| unit.first().is_some_and(|byte| byte & 0x1f == kind));
            found.map(|unit| BitReader::new(&unit[1..]))
        };
        let sps = payload(NAL_SPS).and_then(|mut reader| Sps::parse(&mut reader)).ok_or(Status::ENCODING_ERROR)?;
        let pps = payload(NAL_PPS).and_then(|mut reader| Pps::parse(&mut reader)).ok_or(Status::ENCODING_ERROR)?;
        Ok(Self { encoder, sps, pps })
    }

    /// A slice with the application's `header` and the data of libx264's slice `own`.
    fn splice(&self, own: &[u8], header: &[u8], sps: &Sps, pps: &Pps) -> Result<Vec<u8>> {
        let mut own_reader = BitReader::new(own);
        let own_header = SliceHeader::parse(&mut own_reader, &self.sps, &self.pps).ok_or(Status::ENCODING_ERROR)?;
        // The packed header ends somewhere in its last byte, and the reader may go beyond.
        let padded = [header, &[0; 8]].concat();
        let application =
            SliceHeader::parse(&mut BitReader::new(&padded), sps, pps).ok_or(Status::INVALID_PARAMETER)?;
        let mut slice = BitWriter::new();
        let mut reader = BitReader::new(&padded);
        let slice_type = if application.start.slice_type == SliceType::B {
            write_as_intra(&mut slice, &mut reader, &application);
            SliceType::I
        } else {
            slice.copy(&mut reader, application.tail_at);
            application.start.slice_type
        };
        if slice_type != own_header.start.slice_type {
            return Err(Status::INVALID_PARAMETER);
        }
        if pps.has_cabac && slice_type == SliceType::P {
            slice.ue(own_header.cabac_init_idc);
        }
        slice.se(self.pps.initial_qp + own_header.qp_delta - pps.initial_qp);
        let deblocking = own_header.deblocking;
        if pps.has_deblocking_control {
            slice.ue(deblocking.disable_idc);
            if deblocking.disable_idc != 1 {
                slice.se(deblocking.alpha_offset);
                slice.se(deblocking.beta_offset);
            }
        }
        own_reader.seek(own_header.data_at);
        if pps.has_cabac {
            slice.align(true);
            own_reader.align();
            slice.bytes(own.get(own_reader.position() / 8..).unwrap_or_default());
        } else {
            slice.copy(&mut own_reader, trailing_bits_at(own));
            slice.trailing();
        }
        Ok(slice.finish())
    }
}

/// Copies the header of a B slice as that of an I slice: of type 7, without what only B slices have.
fn write_as_intra(slice: &mut BitWriter, reader: &mut BitReader<'_>, header: &SliceHeader) {
    const ALL_SLICES_ARE_I: u32 = 7;
    slice.bits(reader.bits(8), 8);
    slice.ue(reader.ue());
    reader.ue();
    slice.ue(ALL_SLICES_ARE_I);
    slice.copy(reader, header.start.direct_at);
    reader.seek(header.marking_at);
    slice.copy(reader, header.tail_at);
}

/// Bit of rbsp_stop_one_bit.
fn trailing_bits_at(payload: &[u8]) -> usize {
    let last = payload.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let zeros = payload.get(last).map_or(0, |byte| byte.trailing_zeros() as usize);
    last * 8 + 7_usize.saturating_sub(zeros)
}

/// A surface of the size that is coded: surfaces have the visible size, and coding goes on to whole macroblocks.
struct Padded {
    visible: Picture,
    coded: Picture,
}

fn padded(surface: &Surface, width: u32, height: u32) -> Result<Padded> {
    let visible = surface.picture();
    let fits = |visible: u32, coded: u32| visible.next_multiple_of(16) >= coded;
    if surface.layout.format.fourcc != VA_FOURCC_NV12 || !fits(visible.width, width) || !fits(visible.height, height) {
        return Err(Status::INVALID_SURFACE);
    }
    Ok(Padded { visible, coded: Picture { width, height, ..visible } })
}

impl Padded {
    /// Repeats the last column and row of both planes up to the coded size. Surfaces have the memory for it.
    fn replicate_edges(&self, surface: &Surface) {
        let Self { visible, coded } = self;
        for plane in 0..2 {
            let stride = visible.strides[plane].unsigned_abs() as usize;
            let start = surface.layout.offsets[plane] as usize;
            // Chroma has half the rows, and two bytes a sample.
            let step = plane + 1;
            let rows = |height: u32| (height as usize).div_ceil(step);
            let columns = (visible.width as usize).next_multiple_of(step);
            let memory = &surface.memory;
            for row in 0..rows(visible.height) {
                for at in (start + row * stride + columns)..(start + row * stride + coded.width as usize) {
                    memory.copy_within(at - step, at, 1);
                }
            }
            let last = start + (rows(visible.height) - 1) * stride;
            for row in rows(visible.height)..rows(coded.height) {
                memory.copy_within(last, start + row * stride, coded.width as usize);
            }
        }
    }
}
