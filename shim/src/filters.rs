//! What a chain of filters does to a picture, if it does nothing but choose its rate, size and form.

/// What is asked of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Frames a second, as written.
    pub fps: Option<String>,
}

/// The brightening that Frigate 0.15 to 0.17 put behind pictures from VAAPI and CUDA, against a range that was lost on the
/// way. camshaft loses no range, so there is nothing to brighten.
const FRIGATE_GAMMA: &str = "eq=gamma=1.4:gamma_weight=0.5";

/// Filters that move or repack pictures and leave them what they are.
const NEUTRAL: [&str; 8] = [
    "hwdownload",
    "hwupload",
    "hwmap=mode=read",
    "format=nv12",
    "format=yuv420p",
    "format=vaapi|nv12",
    "format=cuda",
    FRIGATE_GAMMA,
];

const SCALERS: [&str; 5] = ["scale", "scale_vaapi", "vpp_qsv", "scale_cuda", "scale_rkrga"];

impl Shape {
    /// Reads a value of `-vf`.
    ///
    /// # Errors
    /// The first filter that does more, or does it in a way that is not known.
    pub fn parse(chain: &str) -> Result<Self, String> {
        let mut shape = Self::default();
        for filter in chain.split(',').filter(|filter| !NEUTRAL.contains(filter)) {
            let (name, arguments) = filter.split_once('=').unwrap_or((filter, ""));
            let read = match name {
                "fps" => shape.set_fps(arguments),
                _ if SCALERS.contains(&name) => shape.scale(arguments),
                _ => None,
            };
            read.ok_or_else(|| format!("filter '{name}' does what camshaft does not"))?;
        }
        Ok(shape)
    }

    /// Takes a rate; `None` if it is no plain number, or another one than before.
    pub fn set_fps(&mut self, text: &str) -> Option<()> {
        let plain = text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
        let same = self.fps.as_deref().is_none_or(|fps| fps == text);
        (plain && same).then(|| self.fps = Some(text.to_owned()))
    }

    /// The same as a chain for the CPU; `None` if nothing is asked.
    pub fn chain(&self) -> Option<String> {
        let side = |side: Option<u32>| side.map_or("-2".to_owned(), |side| side.to_string());
        let scale = (self.width.is_some() || self.height.is_some())
            .then(|| format!("scale={}:{}", side(self.width), side(self.height)));
        let fps = self.fps.as_ref().map(|fps| format!("fps={fps}"));
        let filters: Vec<String> = [fps, scale].into_iter().flatten().collect();
        (!filters.is_empty()).then(|| filters.join(","))
    }

    fn scale(&mut self, arguments: &str) -> Option<()> {
        for (place, argument) in arguments.split(':').enumerate() {
            let by_place = || ["w", "h"].get(place).map(|key| (*key, argument));
            let (key, value) = argument.split_once('=').or_else(by_place)?;
            match (key, value) {
                ("w" | "width", _) => self.width = side(value)?,
                ("h" | "height", _) => self.height = side(value)?,
                ("framerate", _) => self.set_fps(value)?,
                ("format", "nv12" | "yuv420p") | ("force_original_aspect_ratio", "0") => {}
                ("out_color_matrix", "bt709") | ("out_range", "tv") => {}
                _ => return None,
            }
        }
        Some(())
    }
}

/// `-1` and `-2`: as the other side and the aspect ratio have it.
fn side(text: &str) -> Option<Option<u32>> {
    match text {
        "-1" | "-2" => Some(None),
        _ => text.parse().ok().filter(|side| (1..=8192).contains(side)).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_preset_says_the_same() {
        let expected = Shape { width: Some(1280), height: Some(720), fps: Some("5".into()) };
        for chain in [
            "fps=5,scale=1280:720",
            "fps=5,scale_vaapi=w=1280:h=720,hwdownload,format=nv12",
            "fps=5,scale_vaapi=w=1280:h=720,hwdownload,format=nv12,eq=gamma=1.4:gamma_weight=0.5",
            "fps=5,scale_vaapi=w=1280:h=720:format=nv12,hwdownload,format=nv12,format=yuv420p",
            "vpp_qsv=w=1280:h=720:format=nv12,hwdownload,format=nv12,fps=5,format=yuv420p",
            "vpp_qsv=framerate=5:w=1280:h=720:format=nv12,hwdownload,format=nv12,format=yuv420p",
        ] {
            assert_eq!(Shape::parse(chain), Ok(expected.clone()), "{chain}");
        }
    }

    #[test]
    fn what_changes_the_picture_is_refused() {
        for chain in ["fps=5,transpose=1", "scale=iw/2:ih/2", "scale=0:720", "fps=5,fps=6", "eq=gamma=2", "fps=n", ""] {
            assert!(Shape::parse(chain).is_err(), "{chain}");
        }
    }
}
