//! Bits of H.264 and HEVC headers, and the escaping of NAL units.

/// Reads bits, most significant first. Beyond the end it reads zeros; [`BitReader::overran`] tells.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Position in bits.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn seek(&mut self, position: usize) {
        self.position = position;
    }

    pub(crate) fn skip(&mut self, bits: usize) {
        self.position += bits;
    }

    /// Whether more was read than there is.
    pub(crate) fn overran(&self) -> bool {
        self.position > self.bytes.len() * 8
    }

    pub(crate) fn bit(&mut self) -> bool {
        let byte = self.bytes.get(self.position / 8).copied().unwrap_or(0);
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        bit == 1
    }

    /// u(n), for n up to 32.
    pub(crate) fn bits(&mut self, count: u32) -> u32 {
        (0..count).fold(0, |value, _| value << 1 | u32::from(self.bit()))
    }

    /// ue(v), clause 9.1 of H.264.
    pub(crate) fn ue(&mut self) -> u32 {
        let mut zeros = 0;
        while !self.bit() {
            zeros += 1;
            if zeros > 31 || self.overran() {
                return 0;
            }
        }
        (1_u32 << zeros) - 1 + self.bits(zeros)
    }

    /// se(v), clause 9.1.1 of H.264.
    pub(crate) fn se(&mut self) -> i32 {
        let code = self.ue();
        let magnitude = code.div_ceil(2).cast_signed();
        if code % 2 == 1 { magnitude } else { -magnitude }
    }

    /// Moves to the next whole byte.
    pub(crate) fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }
}

/// Writes bits, most significant first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are written; 0 if it is whole.
    partial: u32,
}

impl BitWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bit(&mut self, bit: bool) {
        if self.partial == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.partial);
        }
        self.partial = (self.partial + 1) % 8;
    }

    /// u(n), for n up to 32.
    pub(crate) fn bits(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            self.bit(value >> shift & 1 == 1);
        }
    }

    pub(crate) fn flag(&mut self, value: u32) {
        self.bit(value != 0);
    }

    /// ue(v).
    pub(crate) fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = code.ilog2();
        self.bits(0, length);
        for shift in (0..=length).rev() {
            self.bit(code >> shift & 1 == 1);
        }
    }

    /// se(v).
    pub(crate) fn se(&mut self, value: i32) {
        let magnitude = value.unsigned_abs() * 2;
        self.ue(if value > 0 { magnitude - 1 } else { magnitude });
    }

    /// Copies what `reader` has up to bit `end`.
    pub(crate) fn copy(&mut self, reader: &mut BitReader<'_>, end: usize) {
        while reader.position() < end {
            self.bit(reader.bit());
        }
    }

    /// Fills the last byte up.
    pub(crate) fn align(&mut self, with: bool) {
        while self.partial != 0 {
            self.bit(with);
        }
    }

    /// rbsp_trailing_bits().
    pub(crate) fn trailing(&mut self) {
        self.bit(true);
        self.align(false);
    }

    /// Appends whole bytes; the position must be one.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        assert_eq!(self.partial, 0, "bytes after a part of one");
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The payload of a NAL unit without emulation prevention bytes (clause 7.4.1 of H.264).
pub(crate) fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        payload.push(byte);
    }
    payload
}

/// Appends a start code and the NAL unit of this payload.
pub(crate) fn append_unit(stream: &mut Vec<u8>, payload: &[u8]) {
    stream.extend_from_slice(&[0, 0, 0, 1]);
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte <= 3 {
            stream.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        stream.push(byte);
    }
}

/// The NAL units of a byte stream, without start codes and without zero bytes at their ends.
pub(crate) fn units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts.iter().zip(ends).map(|(start, end)| without_zeros_at_end(&stream[start + 3..end])).collect()
}

fn without_zeros_at_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = BitWriter::new();
        for value in [0, 1, 2, 7, 255, 65_535, u32::MAX - 1] {
            writer.ue(value);
        }
        for value in [0, 1, -1, 17, -300] {
            writer.se(value);
        }
        writer.bits(0b1011, 4);
        writer.trailing();
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        for value in [0, 1, 2, 7, 255, 65_535, u32::MAX - 1] {
            assert_eq!(reader.ue(), value);
        }
        for value in [0, 1, -1, 17, -300] {
            assert_eq!(reader.se(), value);
        }
        assert_eq!(reader.bits(4), 0b1011);
        assert!(!reader.overran());
    }

    #[test]
    fn reading_beyond_the_end_ends() {
        let mut reader = BitReader::new(&[0]);
        assert_eq!(reader.ue(), 0);
        assert!(reader.overran());
    }

    #[test]
    fn units_survive_escaping() {
        let payloads: [&[u8]; 3] = [&[0x67, 0, 0, 0, 0, 1, 2], &[0x68, 0, 0, 3, 9], &[0x65, 0, 0, 1, 0, 0, 2]];
        let mut stream = Vec::new();
        for payload in payloads {
            append_unit(&mut stream, payload);
        }
        let found: Vec<Vec<u8>> = units(&stream).into_iter().map(unescape).collect();
        assert_eq!(found, payloads);
    }
}
