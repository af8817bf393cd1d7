//! The parameters of a rendition as text: the query of a media URL, or an entry of `renditions:` in the configuration.

use std::fmt;

use super::{Cadence, Crop, FrameRate, OutputRequest, PixelFormat, RateControl, RenditionRequest, VideoCodec};
use crate::error::Error;

/// The quality of JPEGs where none is asked for, 1–100.
pub const DEFAULT_JPEG_QUALITY: u8 = 80;

/// Every parameter, with its short form if it has one.
pub const PARAMETERS: [(&str, Option<&str>); 9] = [
    ("codec", None),
    ("format", None),
    ("width", Some("w")),
    ("height", Some("h")),
    ("fps", None),
    ("crop", None),
    ("bitrate", None),
    ("quality", Some("q")),
    ("gop", None),
];

const MAX_SIDE: u32 = 8192;

/// `codec=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecParam {
    /// The camera's packets as they are.
    Copy,
    /// A new encode.
    Video(VideoCodec),
    /// One JPEG a frame.
    Mjpeg,
}

/// `format=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatParam {
    /// Raw pixels.
    Raw(PixelFormat),
    /// One JPEG a frame.
    Jpeg,
}

/// A rendition's parameters, each within its range; together they may still contradict each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenditionParams {
    /// `codec=copy|h264|hevc|h265|mjpeg`
    pub codec: Option<CodecParam>,
    /// `format=i420|nv12|gray|rgb24|bgr24|jpeg`
    pub format: Option<FormatParam>,
    /// Pixels, 1 to 8192.
    pub width: Option<u32>,
    /// Pixels, 1 to 8192.
    pub height: Option<u32>,
    /// Frames a second.
    pub fps: Option<Cadence>,
    /// `W:H:X:Y` in source pixels.
    pub crop: Option<Crop>,
    /// Bits a second, 10 000 to 100 000 000.
    pub bitrate: Option<u32>,
    /// 1 to 100.
    pub quality: Option<u8>,
    /// Frames from IDR to IDR, 1 to 1000.
    pub gop: Option<u32>,
}

/// The form in which an output needs its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Raw pixels, i420 unless `format` says otherwise (`y4m`, `raw`).
    Raw,
    /// JPEGs (`mjpeg`, `frame.jpg`).
    Jpeg,
    /// Raw pixels or JPEGs by `format`, i420 unless it says otherwise (`frames`).
    Frames,
    /// An encoded stream of `codec`, or of this one if `codec` is not given (`mp4`, `ts`, `h264`, `h265`).
    Encode(VideoCodec),
    /// Whatever `codec` or `format` say, else raw i420 (the configuration).
    Any,
}

/// A parameter that is wrong. Holds no value, which may be secret or long: who reports it decides what to quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// The parameter's name as given.
    pub key: String,
    /// What is wrong or allowed, continuing a sentence that starts with the parameter's name.
    pub problem: String,
}

impl ParamError {
    fn new(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: String = self.key.chars().take(40).collect();
        write!(f, "parameter '{}' {}", key.escape_debug(), self.problem)
    }
}

impl From<Vec<ParamError>> for Error {
    fn from(errors: Vec<ParamError>) -> Self {
        let lines: Vec<String> = errors.iter().map(ParamError::to_string).collect();
        Self::invalid(lines.join("; "))
    }
}

/// Reads `(name, value)` pairs.
///
/// # Errors
/// Every pair that is wrong: a name that is unknown or stands twice, a value out of its range.
pub fn parse_params<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<RenditionParams, Vec<ParamError>> {
    let mut params = RenditionParams::default();
    let mut seen = Vec::new();
    let mut errors = Vec::new();
    for (key, value) in pairs {
        let known = PARAMETERS.iter().find(|(name, short)| *name == key || *short == Some(key));
        let problem = match known {
            None => Some(format!("is not known; known are {}", PARAMETERS.map(|(name, _)| name).join(", "))),
            Some((name, _)) if seen.contains(name) => Some("is given twice".into()),
            Some((name, _)) => {
                seen.push(*name);
                params.set(name, value).err()
            }
        };
        errors.extend(problem.map(|problem| ParamError::new(key, problem)));
    }
    if errors.is_empty() { Ok(params) } else { Err(errors) }
}

impl RenditionParams {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "codec" => self.codec = Some(parse_codec(value)?),
            "format" => self.format = Some(parse_format(value)?),
            "width" => self.width = Some(whole(value, 1, MAX_SIDE)?),
            "height" => self.height = Some(whole(value, 1, MAX_SIDE)?),
            "fps" => self.fps = Some(parse_cadence(value)?),
            "crop" => self.crop = Some(parse_crop(value)?),
            "bitrate" => self.bitrate = Some(parse_bitrate(value)?),
            "quality" => self.quality = Some(whole(value, 1, 100)? as u8),
            _ => self.gop = Some(whole(value, 1, 1000)?),
        }
        Ok(())
    }

    /// Whether the camera's packets will do: no parameter, or only `codec=copy`.
    ///
    /// # Errors
    /// `codec=copy` beside parameters that need decoding.
    pub fn copies(&self) -> Result<bool, Vec<ParamError>> {
        let rest = Self { codec: None, ..*self };
        match self.codec {
            Some(CodecParam::Copy) if rest != Self::default() => Err(vec![ParamError::new(
                "codec",
                "is 'copy', which leaves pictures as they are: remove the other parameters, or name a codec",
            )]),
            Some(CodecParam::Copy) => Ok(true),
            _ => Ok(*self == Self::default()),
        }
    }

    /// The rendition for an output that needs `kind`.
    ///
    /// # Errors
    /// Every parameter that contradicts `kind` or another one.
    pub fn request(&self, kind: OutputKind) -> Result<RenditionRequest, Vec<ParamError>> {
        let mut errors = Vec::new();
        let output = match self.form(kind) {
            Ok(output) => self.rate(output, &mut errors),
            Err(error) => return Err(vec![error]),
        };
        let Self { width, height, fps, crop, .. } = *self;
        if errors.is_empty() {
            Ok(RenditionRequest { output, width, height, cadence: fps.unwrap_or_default(), crop })
        } else {
            Err(errors)
        }
    }

    /// What `kind`, `codec` and `format` agree on.
    fn form(&self, kind: OutputKind) -> Result<OutputRequest, ParamError> {
        use CodecParam::{Copy, Mjpeg, Video};
        let jpeg = OutputRequest::Jpeg { quality: DEFAULT_JPEG_QUALITY };
        let raw = OutputRequest::Raw(PixelFormat::I420);
        let encode = |codec| OutputRequest::Encode { codec, rate_control: None, gop: None };
        let wrong = |key, problem: &str| Err(ParamError::new(key, problem));
        match (kind, self.codec, self.format) {
            (OutputKind::Any, Some(Copy), _) => {
                wrong("codec", "is 'copy', which needs no rendition: ask for mp4 or ts")
            }
            (_, Some(Copy), _) => wrong("codec", "is 'copy', but this output is made of pictures: remove it"),
            (OutputKind::Raw, _, Some(FormatParam::Jpeg)) => {
                wrong("format", "is 'jpeg', but this output is raw: ask for mjpeg or frames")
            }
            (OutputKind::Raw, None, Some(FormatParam::Raw(format))) => Ok(OutputRequest::Raw(format)),
            (OutputKind::Raw, None, None) => Ok(raw),
            (OutputKind::Raw, Some(_), _) => wrong("codec", "means nothing for raw pixels: remove it"),
            (OutputKind::Jpeg, None | Some(Mjpeg), None | Some(FormatParam::Jpeg)) => Ok(jpeg),
            (OutputKind::Jpeg, None | Some(Mjpeg), _) => {
                wrong("format", "must be jpeg for this output, or be left out")
            }
            (OutputKind::Jpeg, ..) => wrong("codec", "must be mjpeg for this output, or be left out"),
            (OutputKind::Frames, Some(Video(_)), _) => wrong("codec", "must be mjpeg for this output, or be left out"),
            (OutputKind::Encode(_), _, Some(_)) => {
                wrong("format", "means nothing for an encoded stream: remove it, or ask for raw, y4m, frames or mjpeg")
            }
            (OutputKind::Encode(_), Some(Mjpeg), _) => wrong("codec", "must be h264 or hevc for this output"),
            (OutputKind::Encode(_) | OutputKind::Any, Some(Video(codec)), None) => Ok(encode(codec)),
            (OutputKind::Encode(codec), None, None) => Ok(encode(codec)),
            (OutputKind::Any, Some(Video(_)), Some(_)) => {
                wrong("format", "contradicts codec: an encoded stream has no pixel format; remove one of the two")
            }
            (OutputKind::Frames | OutputKind::Any, Some(Mjpeg), Some(FormatParam::Raw(_))) => {
                wrong("format", "contradicts codec=mjpeg: remove one of the two")
            }
            (_, Some(Mjpeg), _) | (_, None, Some(FormatParam::Jpeg)) => Ok(jpeg),
            (_, None, Some(FormatParam::Raw(format))) => Ok(OutputRequest::Raw(format)),
            (_, None, None) => Ok(raw),
        }
    }

    /// `form` with `bitrate`, `quality` and `gop` in it, as far as it takes them.
    fn rate(&self, form: OutputRequest, errors: &mut Vec<ParamError>) -> OutputRequest {
        let mut refuse = |given: bool, key: &str, problem: &str| {
            if given {
                errors.push(ParamError::new(key, problem));
            }
        };
        if !matches!(form, OutputRequest::Encode { .. }) {
            let problem = "needs an encoded stream: remove it, or add codec=h264 or codec=hevc";
            refuse(self.bitrate.is_some(), "bitrate", problem);
            refuse(self.gop.is_some(), "gop", problem);
        }
        match form {
            OutputRequest::Raw(format) => {
                let problem = "means nothing for raw pixels: remove it, or ask for JPEG or a codec";
                refuse(self.quality.is_some(), "quality", problem);
                OutputRequest::Raw(format)
            }
            OutputRequest::Jpeg { quality } => OutputRequest::Jpeg { quality: self.quality.unwrap_or(quality) },
            OutputRequest::Encode { codec, .. } => {
                let both = self.bitrate.is_some() && self.quality.is_some();
                refuse(both, "quality", "contradicts bitrate: an encoder keeps one of the two; remove the other");
                let bitrate = self.bitrate.map(RateControl::Bitrate);
                let rate_control = bitrate.or(self.quality.map(RateControl::Quality));
                OutputRequest::Encode { codec, rate_control, gop: self.gop }
            }
        }
    }
}

/// A video codec by name; `h265` is `hevc`. The error says what is allowed.
pub fn parse_video_codec(text: &str) -> Result<VideoCodec, String> {
    match text {
        "h264" => Ok(VideoCodec::H264),
        "hevc" | "h265" => Ok(VideoCodec::Hevc),
        _ => Err("must be h264 or hevc".into()),
    }
}

/// A bit rate such as `2M`, `800k` or `2500000`, in bits a second. The error says what is allowed.
pub fn parse_bitrate(text: &str) -> Result<u32, String> {
    let bits = parse_scaled(text, 1000).and_then(|bits| u32::try_from(bits).ok());
    bits.filter(|bits| (10_000..=100_000_000).contains(bits))
        .ok_or_else(|| "must be a bit rate from 10k to 100M, such as 800k or 2.5M".into())
}

/// `keyframes`, or a frame rate. The error says what is allowed.
pub fn parse_cadence(text: &str) -> Result<Cadence, String> {
    if text == "keyframes" {
        return Ok(Cadence::Keyframes);
    }
    parse_fps(text, FrameRate::MAX).map(Cadence::Fps).map_err(|problem| problem + ", or keyframes")
}

/// A frame rate of at most `max`. The error says what is allowed.
pub fn parse_fps(text: &str, max: u32) -> Result<FrameRate, String> {
    // `FrameRate` is lenient about signs.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
    let rate = plain.then(|| text.parse::<FrameRate>().ok()).flatten();
    rate.filter(|rate| u64::from(rate.num) <= u64::from(rate.den) * u64::from(max))
        .ok_or_else(|| format!("must be a frame rate above 0 and at most {max}, such as 5, 12.5 or 30000/1001"))
}

/// A whole number from `min` to `max`. The error says so.
pub fn whole(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number = digits(text).and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// A number with up to three decimals and one of the suffixes `k`, `M`, `G` (in either case), each `kilo` times the one
/// before: 1000 for bits, 1024 for bytes.
pub fn parse_scaled(text: &str, kilo: u64) -> Option<u64> {
    let (number, factor) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], kilo),
        (at, 'm' | 'M') => (&text[..at], kilo * kilo),
        (at, 'g' | 'G') => (&text[..at], kilo * kilo * kilo),
        _ => (text, 1),
    };
    match number.split_once('.') {
        None => digits(number)?.checked_mul(factor),
        Some((whole, part)) if (1..=3).contains(&part.len()) && factor > 1 => {
            let thousandths = digits(part)? * 10u64.pow(3 - part.len() as u32);
            digits(whole)?.checked_mul(factor)?.checked_add(thousandths * factor / 1000)
        }
        Some(_) => None,
    }
}

/// Decimal digits alone; no sign, which `str::parse` would take.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn parse_codec(text: &str) -> Result<CodecParam, String> {
    match text {
        "copy" => Ok(CodecParam::Copy),
        "mjpeg" => Ok(CodecParam::Mjpeg),
        _ => parse_video_codec(text)
            .map(CodecParam::Video)
            .map_err(|_| "must be one of copy, h264, hevc (or h265) and mjpeg".into()),
    }
}

fn parse_format(text: &str) -> Result<FormatParam, String> {
    if text == "jpeg" {
        return Ok(FormatParam::Jpeg);
    }
    let format = PixelFormat::ALL.iter().find(|(name, _)| *name == text);
    format
        .map(|(_, format)| FormatParam::Raw(*format))
        .ok_or_else(|| format!("must be one of {} and jpeg", PixelFormat::ALL.map(|(name, _)| name).join(", ")))
}

fn parse_crop(text: &str) -> Result<Crop, String> {
    let mut parts = text.split(':');
    let mut next = |min| parts.next().and_then(|part| whole(part, min, MAX_SIDE).ok());
    let crop = (|| Some(Crop { width: next(1)?, height: next(1)?, x: next(0)?, y: next(0)? }))();
    crop.filter(|_| parts.next().is_none()).ok_or_else(|| {
        format!(
            "must be W:H:X:Y in source pixels, such as 640:480:0:0; W and H from 1, X and Y from 0, all to {MAX_SIDE}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Result<RenditionParams, Vec<ParamError>> {
        parse_params(query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap()))
    }

    fn keys(errors: &[ParamError]) -> Vec<&str> {
        errors.iter().map(|error| error.key.as_str()).collect()
    }

    fn refused(query: &str, kind: OutputKind) -> Vec<String> {
        let errors = params(query).unwrap().request(kind).unwrap_err();
        keys(&errors).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_parameter_is_read() {
        let long = params("codec=h265&width=1280&height=720&fps=12.5&crop=640:480:0:10&bitrate=2.5M&gop=50").unwrap();
        let request = long.request(OutputKind::Encode(VideoCodec::H264)).unwrap();
        assert_eq!((request.width, request.height), (Some(1280), Some(720)));
        assert_eq!(Some(request.cadence), FrameRate::new(125, 10).map(Cadence::Fps));
        assert_eq!(request.crop, Some(Crop { width: 640, height: 480, x: 0, y: 10 }));
        let rate_control = Some(RateControl::Bitrate(2_500_000));
        assert_eq!(request.output, OutputRequest::Encode { codec: VideoCodec::Hevc, rate_control, gop: Some(50) });
        assert_eq!(params("w=64&h=32&q=7").unwrap(), params("width=64&height=32&quality=7").unwrap());
    }

    #[test]
    fn all_mistakes_are_named_at_once_without_their_values() {
        let query =
            "codec=vp9&format=yuv&width=0&height=8193&fps=0&crop=1:2:3&bitrate=9k&quality=101&gop=1001&colour=red";
        let errors = params(query).unwrap_err();
        let expected = ["codec", "format", "width", "height", "fps", "crop", "bitrate", "quality", "gop", "colour"];
        assert_eq!(keys(&errors), expected);
        let message = Error::from(errors).to_string();
        assert!(message.contains("parameter 'width' must be a whole number from 1 to 8192"), "{message}");
        assert!(!message.contains("8193"), "{message}");
        assert_eq!(keys(&params("w=1&width=2").unwrap_err()), ["width"]);
        for signed in [
            "width=+5",
            "width=-5",
            "width=",
            "fps=+5",
            "crop=+1:1:0:0",
            "crop=1:1:0:0:0",
            "bitrate=1.2345M",
            "bitrate=k",
        ] {
            assert!(params(signed).is_err(), "{signed}");
        }
    }

    #[test]
    fn an_output_settles_what_is_left_open() {
        let any = |query| params(query).unwrap().request(OutputKind::Any).unwrap().output;
        assert_eq!(any("width=640"), OutputRequest::Raw(PixelFormat::I420));
        assert_eq!(any("format=gray"), OutputRequest::Raw(PixelFormat::Gray));
        assert_eq!(any("format=jpeg&quality=50"), OutputRequest::Jpeg { quality: 50 });
        assert_eq!(any("codec=mjpeg&format=jpeg"), OutputRequest::Jpeg { quality: DEFAULT_JPEG_QUALITY });
        let frames = params("format=bgr24").unwrap().request(OutputKind::Frames).unwrap();
        assert_eq!(frames.output, OutputRequest::Raw(PixelFormat::Bgr24));
        let encode = params("quality=30").unwrap().request(OutputKind::Encode(VideoCodec::Hevc)).unwrap();
        let rate_control = Some(RateControl::Quality(30));
        assert_eq!(encode.output, OutputRequest::Encode { codec: VideoCodec::Hevc, rate_control, gop: None });
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(refused("codec=h264&bitrate=1M&quality=5", OutputKind::Any), ["quality"]);
        assert_eq!(refused("bitrate=1M&gop=5&quality=5", OutputKind::Raw), ["bitrate", "gop", "quality"]);
        assert_eq!(refused("gop=5", OutputKind::Jpeg), ["gop"]);
        assert_eq!(refused("codec=h264", OutputKind::Raw), ["codec"]);
        assert_eq!(refused("format=jpeg", OutputKind::Raw), ["format"]);
        assert_eq!(refused("format=i420", OutputKind::Jpeg), ["format"]);
        assert_eq!(refused("codec=h264", OutputKind::Frames), ["codec"]);
        assert_eq!(refused("format=i420", OutputKind::Encode(VideoCodec::H264)), ["format"]);
        assert_eq!(refused("codec=mjpeg", OutputKind::Encode(VideoCodec::H264)), ["codec"]);
        assert_eq!(refused("codec=h264&format=i420", OutputKind::Any), ["format"]);
        assert_eq!(refused("codec=mjpeg&format=i420", OutputKind::Frames), ["format"]);
        assert_eq!(refused("codec=copy", OutputKind::Any), ["codec"]);
    }

    #[test]
    fn a_copy_needs_no_pixels() {
        assert_eq!(params("").unwrap().copies(), Ok(true));
        assert_eq!(params("codec=copy").unwrap().copies(), Ok(true));
        assert_eq!(params("fps=5").unwrap().copies(), Ok(false));
        assert_eq!(params("codec=h264").unwrap().copies(), Ok(false));
        assert_eq!(keys(&params("codec=copy&fps=5").unwrap().copies().unwrap_err()), ["codec"]);
    }

    #[test]
    fn scaled_numbers() {
        for (text, kilo, value) in [
            ("2M", 1000, 2_000_000),
            ("800k", 1000, 800_000),
            ("16M", 1024, 16 << 20),
            ("1.5g", 1024, 3 << 29),
            ("7", 1000, 7),
        ] {
            assert_eq!(parse_scaled(text, kilo), Some(value), "{text}");
        }
        for bad in ["", "k", ".5M", "1.M", "1.5", "-1k", "99999999999999999999", "9999999999999G", "1 k", "1kk", "1ä"]
        {
            assert_eq!(parse_scaled(bad, 1024), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(pairs in proptest::collection::vec(("[a-z]{1,8}|codec|crop|fps|bitrate", ".{0,12}|[0-9:.kMG]{0,12}"), 0..6)) {
            let params = parse_params(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let _ = params.and_then(|params| params.request(OutputKind::Any));
        }
    }
}
