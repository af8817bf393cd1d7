//! What a job is asked for by its URL, or by the arguments of the command.

use super::media::parse_audio;
use super::{Query, parse_policy};
use crate::error::Result;
use crate::media::query::{DEFAULT_JPEG_QUALITY, parse_bitrate, parse_fps, whole};
use crate::media::{
    FrameRate, Geometry, JobFormat, JobSpec, JobVideo, MediaTime, PixelFormat, RateControl, RawInput, VideoCodec,
};
use crate::plan::Policy;

/// Every parameter.
const KNOWN: [&str; 22] = [
    "format",
    "codec",
    "width",
    "w",
    "height",
    "h",
    "fps",
    "bitrate",
    "quality",
    "q",
    "gop",
    "audio",
    "start",
    "duration",
    "at",
    "pixels",
    "policy",
    "input",
    "input_width",
    "input_height",
    "input_fps",
    "input_format",
];
const MAX_SIDE: u32 = 8192;
/// A week.
const LONGEST: f64 = 604_800.0;

/// A job, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscodeRequest {
    /// What is to be made of what.
    pub spec: JobSpec,
    /// `None`: the configuration's.
    pub policy: Option<Policy>,
}

/// `codec=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodecParam {
    Copy,
    Video(VideoCodec),
}

impl TranscodeRequest {
    /// Reads a URL's query; `accepted` is the format that the `Accept` header names, for queries that name none.
    ///
    /// # Errors
    /// Every mistake, in one message.
    pub fn parse(text: Option<&str>, accepted: Option<JobFormat>) -> Result<Self> {
        let mut query = Query::read(text, &KNOWN)?;
        let format = query.take("format", parse_format);
        let codec = query.take("codec", parse_codec);
        let policy = query.take("policy", parse_policy);
        let pixels = query.take("pixels", parse_pixels);
        let (width, height) = (side(&mut query, "width", "w"), side(&mut query, "height", "h"));
        let fps = query.take("fps", |text| parse_fps(text, FrameRate::MAX));
        let bitrate = query.take("bitrate", parse_bitrate);
        let parse_quality = |text: &str| whole(text, 1, 100).map(|quality| quality as u8);
        let quality = query.take("quality", parse_quality).or(query.take("q", parse_quality));
        let gop = query.take("gop", |text| whole(text, 1, 1000));
        let audio = query.take("audio", parse_audio).unwrap_or_default();
        let (start, duration) = (query.take("start", parse_time), query.take("duration", parse_time));
        let at = query.take("at", parse_time);
        let input = raw_input(&mut query);
        let format = match format.or(accepted).unwrap_or(JobFormat::Mp4) {
            JobFormat::Raw(_) => JobFormat::Raw(pixels.unwrap_or(PixelFormat::I420)),
            format => format,
        };
        if bitrate.is_some() && quality.is_some() {
            query.refuse("quality", "contradicts bitrate: an encoder keeps one of the two; remove the other");
        }
        if at.is_some() && (format != JobFormat::Jpg || start.is_some()) {
            query.refuse("at", "is for format=jpg, without start");
        }
        if pixels.is_some() && !matches!(format, JobFormat::Raw(_)) {
            query.refuse("pixels", "is for format=raw");
        }
        let rate_control = bitrate.map(RateControl::Bitrate).or(quality.map(RateControl::Quality));
        let video = video(&mut query, format, codec, rate_control, gop);
        if video == JobVideo::Copy && (width.is_some() || height.is_some() || fps.is_some() || rate_control.is_some()) {
            let problem = "is 'copy', which leaves pictures as they are: remove the other parameters, or name a codec";
            query.refuse("codec", problem);
        }
        let start = at.or(start).unwrap_or_default();
        let spec = JobSpec { input, format, video, audio, width, height, fps, start, duration };
        query.finish(Some(Self { spec, policy }))
    }
}

fn video(
    query: &mut Query,
    format: JobFormat,
    codec: Option<CodecParam>,
    rate_control: Option<RateControl>,
    gop: Option<u32>,
) -> JobVideo {
    match (format, codec) {
        (JobFormat::Mp4 | JobFormat::Ts | JobFormat::Mkv, Some(CodecParam::Copy)) => JobVideo::Copy,
        (JobFormat::Ts, Some(CodecParam::Video(VideoCodec::Mjpeg | VideoCodec::Av1))) => {
            query.refuse("codec", "has no place in a transport stream: ask for format=mp4 or mkv, or for h264 or hevc");
            JobVideo::Copy
        }
        (JobFormat::Mp4 | JobFormat::Ts | JobFormat::Mkv, codec) => {
            let codec = match codec {
                Some(CodecParam::Video(codec)) => codec,
                _ => VideoCodec::H264,
            };
            JobVideo::Encode { codec, rate_control, gop }
        }
        (JobFormat::Mjpeg | JobFormat::Jpg, None | Some(CodecParam::Video(VideoCodec::Mjpeg))) => match rate_control {
            Some(RateControl::Bitrate(_)) => {
                query.refuse("bitrate", "means nothing for JPEGs: use quality");
                JobVideo::Copy
            }
            Some(RateControl::Quality(quality)) => JobVideo::Jpeg { quality },
            None => JobVideo::Jpeg { quality: DEFAULT_JPEG_QUALITY },
        },
        (JobFormat::Y4m, None) => JobVideo::Raw(PixelFormat::I420),
        (JobFormat::Raw(pixels), None) => JobVideo::Raw(pixels),
        (JobFormat::Mjpeg | JobFormat::Jpg | JobFormat::Y4m | JobFormat::Raw(_), Some(_)) => {
            query.refuse("codec", "means nothing for this format: remove it, or ask for format=mp4, ts or mkv");
            JobVideo::Copy
        }
    }
}

fn side(query: &mut Query, name: &str, short: &str) -> Option<u32> {
    let parse = |text: &str| whole(text, 1, MAX_SIDE);
    query.take(name, parse).or(query.take(short, parse))
}

/// `input=raw` and what belongs to it.
fn raw_input(query: &mut Query) -> Option<RawInput> {
    let is_raw = query.take("input", |text| match text {
        "raw" => Ok(()),
        _ => Err("must be raw, or be left out: other forms are told by their first bytes".into()),
    });
    if is_raw.is_none() {
        for name in ["input_width", "input_height", "input_fps", "input_format"] {
            if query.take(name, |_| Ok(())).is_some() {
                query.refuse(name, "is for input=raw");
            }
        }
        return None;
    }
    let width = query.require("input_width", |text| whole(text, 1, MAX_SIDE));
    let height = query.require("input_height", |text| whole(text, 1, MAX_SIDE));
    let fps = query.require("input_fps", |text| parse_fps(text, FrameRate::MAX));
    let format = query.take("input_format", parse_pixels).unwrap_or(PixelFormat::I420);
    Some(RawInput { size: Geometry::new(width?, height?), fps: fps?, format })
}

/// A format by name.
///
/// # Errors
/// What is allowed.
pub fn parse_format(text: &str) -> Result<JobFormat, String> {
    let found = JobFormat::ALL.iter().find(|(name, _)| *name == text);
    let names = || JobFormat::ALL.map(|(name, _)| name).join(", ");
    found.map(|(_, format)| *format).ok_or_else(|| format!("must be one of {}", names()))
}

fn parse_pixels(text: &str) -> Result<PixelFormat, String> {
    let found = PixelFormat::ALL.iter().find(|(name, _)| *name == text);
    let names = || PixelFormat::ALL.map(|(name, _)| name).join(", ");
    found.map(|(_, format)| *format).ok_or_else(|| format!("must be one of {}", names()))
}

fn parse_codec(text: &str) -> Result<CodecParam, String> {
    match text {
        "copy" => Ok(CodecParam::Copy),
        "h264" => Ok(CodecParam::Video(VideoCodec::H264)),
        "hevc" | "h265" => Ok(CodecParam::Video(VideoCodec::Hevc)),
        "mjpeg" => Ok(CodecParam::Video(VideoCodec::Mjpeg)),
        "av1" => Ok(CodecParam::Video(VideoCodec::Av1)),
        _ => Err("must be one of copy, h264, hevc (or h265), mjpeg and av1".into()),
    }
}

/// Seconds of media.
fn parse_time(text: &str) -> Result<MediaTime, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = plain.then(|| text.parse::<f64>().ok()).flatten();
    let seconds = seconds.filter(|seconds| (0.0..=LONGEST).contains(seconds));
    let ticks = seconds.map(|seconds| MediaTime((seconds * MediaTime::HZ as f64).round() as i64));
    ticks.ok_or_else(|| "must be seconds from 0 to 604800, such as 12.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::AudioRequest;

    fn parse(text: &str) -> Result<TranscodeRequest> {
        TranscodeRequest::parse(Some(text), None)
    }

    #[test]
    fn a_job_is_asked_for_in_full() {
        let spec =
            parse("format=ts&codec=h265&w=640&fps=12.5&q=60&gop=25&audio=aac&start=1.5&duration=10").unwrap().spec;
        assert_eq!(
            (spec.format, spec.width, spec.height, spec.audio),
            (JobFormat::Ts, Some(640), None, AudioRequest::Aac)
        );
        let rate_control = Some(RateControl::Quality(60));
        assert_eq!(spec.video, JobVideo::Encode { codec: VideoCodec::Hevc, rate_control, gop: Some(25) });
        assert_eq!((spec.start, spec.duration), (MediaTime(135_000), Some(MediaTime(900_000))));
        let raw = parse("input=raw&input_width=64&input_height=32&input_fps=5&input_format=bgr24").unwrap().spec.input;
        assert_eq!(raw.unwrap().format, PixelFormat::Bgr24);
        assert_eq!(TranscodeRequest::parse(None, Some(JobFormat::Mkv)).unwrap().spec.format, JobFormat::Mkv);
        assert_eq!(parse("codec=copy").unwrap().spec.video, JobVideo::Copy);
        assert_eq!(parse("format=raw&pixels=gray").unwrap().spec.video, JobVideo::Raw(PixelFormat::Gray));
    }

    #[test]
    fn mistakes_are_named_together() {
        let message = parse("format=avi&codec=vp9&width=0&audio=mp3&start=-1&input=raw&policy=x&size=3").unwrap_err();
        for key in ["format", "codec", "width", "audio", "start", "input_width", "input_fps", "policy", "size"] {
            assert!(message.to_string().contains(&format!("'{key}'")), "{key} in {message}");
        }
        for wrong in [
            "codec=copy&width=5",
            "format=y4m&codec=h264",
            "format=ts&codec=av1",
            "bitrate=1M&quality=5",
            "at=5",
            "input_width=4",
            "format=jpg&bitrate=1M",
            "pixels=gray",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
