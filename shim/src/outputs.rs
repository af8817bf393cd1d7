//! What one output of a command asks of camshaft, and what a real ffmpeg has to be told to make it.

use crate::command::{File, Setting};
use crate::filters::Shape;
use crate::raw::{Pictures, Raw, Samples};

/// The names of standard output.
pub const TO_STDOUT: [&str; 3] = ["pipe:", "pipe:1", "-"];

/// What a real ffmpeg is fed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packets {
    /// The camera's packets as they are.
    Copy {
        /// Whether its sound is needed.
        audio: bool,
    },
    /// An encode by camshaft, without sound.
    Encode {
        /// `h264` or `hevc`.
        codec: &'static str,
        /// Size and rate.
        shape: Shape,
        /// Frames from IDR to IDR.
        gop: Option<u32>,
        /// Bits a second, as written.
        bitrate: Option<String>,
    },
}

impl Packets {
    /// The rest of the URL behind the stream's name.
    pub fn request(&self) -> String {
        match self {
            Self::Copy { audio: true } => "live.ts?audio=copy".into(),
            Self::Copy { audio: false } => "live.ts?audio=none".into(),
            Self::Encode { codec, shape, gop, bitrate } => {
                let mut request = format!("live.ts?codec={codec}&audio=none");
                let parameters = [
                    ("width", shape.width.map(|side| side.to_string())),
                    ("height", shape.height.map(|side| side.to_string())),
                    ("fps", shape.fps.clone()),
                    ("gop", gop.map(|gop| gop.to_string())),
                    ("bitrate", bitrate.clone()),
                ];
                for (name, value) in parameters {
                    request.extend(value.map(|value| format!("&{name}={value}")));
                }
                request
            }
        }
    }

    /// What does for both; `None` if nothing does.
    pub fn with(self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Copy { audio: one }, Self::Copy { audio: two }) => Some(Self::Copy { audio: one || *two }),
            (one, two) if one == *two => Some(one),
            _ => None,
        }
    }
}

/// One output. Has no `Debug`: its target may hold a password.
pub enum Output {
    /// Raw pictures or samples for standard output.
    Raw(Raw, File),
    /// Something that a real ffmpeg makes of packets, without decoding pictures.
    Local(Packets, File),
}

/// Options of an output that do not touch its pictures.
const CONTAINER: [&str; 20] = [
    "f",
    "an",
    "vn",
    "ar",
    "ac",
    "acodec",
    "tag",
    "threads",
    "user_agent",
    "rtsp_transport",
    "strict",
    "avoid_negative_ts",
    "flags",
    "segment_time",
    "segment_format",
    "segment_format_options",
    "segment_atclocktime",
    "reset_timestamps",
    "strftime",
    "movflags",
];

/// Options that only choose how an encoder works, which is camshaft's to choose.
const ENCODER: [&str; 7] = ["bf", "profile", "level", "sei", "async_depth", "preset", "tune"];

/// Audio formats, which hold no video whatever the input has.
const SOUND: [&str; 3] = ["s16le", "wav", "adts"];

/// Encoders that camshaft stands in for.
const ENCODERS: [(&str, &str); 10] = [
    ("h264_vaapi", "h264"),
    ("h264_qsv", "h264"),
    ("h264_nvenc", "h264"),
    ("h264_v4l2m2m", "h264"),
    ("h264_rkmpp", "h264"),
    ("libx264", "h264"),
    ("hevc_vaapi", "hevc"),
    ("hevc_qsv", "hevc"),
    ("hevc_nvenc", "hevc"),
    ("libx265", "hevc"),
];

impl Output {
    /// Reads an output of an input whose video or audio may be switched off.
    ///
    /// # Errors
    /// Why camshaft cannot serve it.
    pub fn read(file: &File, no_video: bool, no_audio: bool) -> Result<Self, String> {
        let reader = Reader { file };
        let format = reader.value("f").unwrap_or_default();
        let to_stdout = TO_STDOUT.contains(&file.target.as_str());
        if format == "rawvideo" && to_stdout {
            return reader.pictures().map(|pictures| Self::Raw(Raw::Pictures(pictures), file.clone()));
        }
        let no_audio = no_audio || reader.value("an").is_some();
        if no_video || reader.value("vn").is_some() || SOUND.contains(&format) {
            reader.only(&["c:a", "codec:a", "b:a"])?;
            if let Some(samples) = reader.samples().filter(|_| to_stdout) {
                return Ok(Self::Raw(Raw::Samples(samples), file.clone()));
            }
            return Ok(Self::Local(Packets::Copy { audio: true }, file.clone()));
        }
        let codec = reader.video_codec().ok_or("an output names no video codec")?;
        if codec == "copy" {
            reader.only(&["c", "c:v", "codec", "codec:v", "vcodec", "c:a", "codec:a", "b:a"])?;
            return Ok(Self::Local(Packets::Copy { audio: !no_audio }, file.clone()));
        }
        let encoder = ENCODERS.iter().find(|(name, _)| *name == codec);
        let (_, codec) = encoder.ok_or_else(|| format!("'{codec}' is no encoder that camshaft stands in for"))?;
        if !no_audio {
            return Err("an output wants an encode with sound, which camshaft does not make".into());
        }
        reader.encode(codec).map(|packets| Self::Local(packets, file.clone()))
    }

    /// What camshaft itself gives to standard output, if it is that.
    pub fn raw(&self) -> Option<&Raw> {
        match self {
            Self::Raw(raw, _) => Some(raw),
            Self::Local(..) => None,
        }
    }

    /// What a real ffmpeg makes it of, if one does.
    pub fn packets(&self) -> Option<&Packets> {
        match self {
            Self::Raw(..) => None,
            Self::Local(packets, _) => Some(packets),
        }
    }

    /// Its arguments for a real ffmpeg that is fed with its packets; none for what camshaft gives itself.
    pub fn fed(&self) -> Vec<String> {
        match self {
            Self::Raw(..) => Vec::new(),
            Self::Local(Packets::Copy { .. }, file) => arguments(file, &[], |_| true),
            Self::Local(Packets::Encode { .. }, file) => arguments(file, &["-c:v", "copy"], is_container),
        }
    }

    /// Its arguments for a real ffmpeg that makes it from the camera, on the CPU.
    pub fn software(&self) -> Vec<String> {
        match self {
            Self::Raw(Raw::Pictures(pictures), file) => {
                let (fps, chain) = pictures.chain();
                let kept = |setting: &Setting| !["r", "vf", "filter"].contains(&setting.name);
                arguments(file, &["-r", fps, "-vf", &chain], kept)
            }
            Self::Raw(Raw::Samples(_), file) | Self::Local(Packets::Copy { .. }, file) => {
                arguments(file, &[], |_| true)
            }
            Self::Local(Packets::Encode { codec, shape, gop, bitrate }, file) => {
                let encoder = if *codec == "hevc" { "libx265" } else { "libx264" };
                let mut front = format!("-c:v {encoder} -preset:v superfast -tune:v zerolatency -pix_fmt:v yuv420p");
                front.extend(gop.map(|gop| format!(" -g {gop}")));
                front.extend(bitrate.as_ref().map(|bitrate| format!(" -b:v {bitrate}")));
                front.extend(shape.chain().map(|chain| format!(" -vf {chain}")));
                arguments(file, &front.split(' ').collect::<Vec<_>>(), is_container)
            }
        }
    }
}

fn is_container(setting: &Setting) -> bool {
    CONTAINER.contains(&setting.name)
}

fn arguments(file: &File, front: &[&str], kept: impl Fn(&Setting) -> bool) -> Vec<String> {
    let front = front.iter().map(|word| (*word).to_owned());
    let kept = file.settings.iter().filter(|setting| kept(setting)).flat_map(Setting::words);
    front.chain(kept).chain([file.target.clone()]).collect()
}

/// Reads an output's options; the last of a name counts, as with ffmpeg.
struct Reader<'f> {
    file: &'f File,
}

impl<'f> Reader<'f> {
    fn value(&self, name: &str) -> Option<&'f str> {
        self.file.settings.iter().rev().find(|setting| setting.name == name).map(Setting::text)
    }

    fn video_codec(&self) -> Option<&'f str> {
        let names_video = |setting: &&Setting| match setting.name {
            "c" | "codec" => ["", "v", "v:0"].contains(&setting.specifier.as_str()),
            name => name == "vcodec",
        };
        self.file.settings.iter().rev().find(names_video).map(Setting::text)
    }

    /// Nothing but what a container takes and `more`.
    fn only(&self, more: &[&str]) -> Result<(), String> {
        for setting in self.file.settings.iter().filter(|setting| !is_container(setting)) {
            let full = setting.words().next().unwrap_or_default();
            if !more.contains(&full.trim_start_matches('-')) {
                return Err(format!("output option {full} asks for what camshaft does not do"));
            }
        }
        Ok(())
    }

    /// Size and rate by `-r` and `-vf`.
    fn shape(&self) -> Result<Shape, String> {
        let chain = self.value("vf").or(self.value("filter"));
        let mut shape = chain.map(Shape::parse).transpose()?.unwrap_or_default();
        if let Some(rate) = self.value("r") {
            shape.set_fps(rate).ok_or("-r and the filters name different rates")?;
        }
        Ok(shape)
    }

    fn pictures(&self) -> Result<Pictures, String> {
        self.only(&["r", "vf", "filter:v", "pix_fmt", "c:v"])?;
        if self.video_codec().is_some_and(|codec| codec != "rawvideo") {
            return Err("raw video has no other codec".into());
        }
        Pictures::new(self.shape()?, self.value("pix_fmt").unwrap_or("yuv420p"))
    }

    /// Bare samples, if camshaft makes the like; without a rate and channels of their own they are as the camera has them.
    fn samples(&self) -> Option<Samples> {
        let names_codec = |setting: &&Setting| ["c", "codec", "acodec"].contains(&setting.name);
        let mut codecs = self.file.settings.iter().filter(names_codec).map(Setting::text);
        let is_bare = self.value("f") == Some("s16le") && codecs.all(|codec| codec == "pcm_s16le");
        Samples::new(self.value("ar")?, self.value("ac")?).ok().filter(|_| is_bare)
    }

    fn encode(&self, codec: &'static str) -> Result<Packets, String> {
        let known = |setting: &&Setting| {
            is_container(setting)
                || ENCODER.contains(&setting.name)
                || ["vf", "r", "g", "pix_fmt"].contains(&setting.name)
        };
        for setting in self.file.settings.iter().filter(|setting| !known(setting)) {
            if !["c:v", "codec:v", "b:v"].contains(&setting.words().next().unwrap_or_default().trim_start_matches('-'))
            {
                return Err(format!("output option -{} asks for what camshaft does not do", setting.name));
            }
        }
        if self.value("pix_fmt").is_some_and(|format| format != "yuv420p") {
            return Err("camshaft encodes yuv420p only".into());
        }
        let gop = self.value("g").map(|text| text.parse().ok().filter(|gop| (1..=1000).contains(gop)));
        let gop = gop.map(|gop| gop.ok_or("-g is no number from 1 to 1000")).transpose()?;
        Ok(Packets::Encode { codec, shape: self.shape()?, gop, bitrate: self.value("b").map(str::to_owned) })
    }
}
