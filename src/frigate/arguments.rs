//! What ffmpeg arguments in Frigate's file mean for a camera that camshaft reads instead.

use super::yaml::{Node, Value};

/// How a camera is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// RTP by UDP.
    pub udp: bool,
    /// A stream's `input`.
    pub input: Option<&'static str>,
}

/// Options that say how ffmpeg deals with a source, and nothing about the source itself; with whether a value follows.
const ABOUT_FFMPEG: &[(&str, Follows)] = &[
    ("-hide_banner", Follows::Nothing),
    ("-nostdin", Follows::Nothing),
    ("-re", Follows::Nothing),
    ("-loglevel", Follows::Value),
    ("-v", Follows::Value),
    ("-threads", Follows::Value),
    ("-user_agent", Follows::Value),
    ("-avoid_negative_ts", Follows::Value),
    ("-fflags", Follows::Value),
    ("-flags", Follows::Value),
    ("-strict", Follows::Value),
    ("-timeout", Follows::Value),
    ("-stimeout", Follows::Value),
    ("-rw_timeout", Follows::Value),
    ("-use_wallclock_as_timestamps", Follows::Value),
    ("-analyzeduration", Follows::Value),
    ("-probesize", Follows::Value),
    ("-max_delay", Follows::Value),
    ("-reorder_queue_size", Follows::Value),
    ("-rtsp_flags", Follows::Value),
    ("-buffer_size", Follows::Value),
    ("-rtbufsize", Follows::Value),
    ("-thread_queue_size", Follows::Value),
    ("-reconnect", Follows::Value),
    ("-reconnect_streamed", Follows::Value),
    ("-reconnect_at_eof", Follows::Value),
    ("-reconnect_delay_max", Follows::Value),
    ("-multiple_requests", Follows::Value),
    ("-err_detect", Follows::Value),
    ("-ec", Follows::Value),
    ("-stream_loop", Follows::Value),
    ("-r", Follows::Value),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    Nothing,
    Value,
}

/// Reads `input_args`: a preset's name, a line or a list.
///
/// # Errors
/// The first argument that camshaft knows no counterpart of.
pub fn reading(node: Option<&Node>) -> Result<Reading, String> {
    let words = node.map(words).unwrap_or_default();
    if let [preset] = words.as_slice()
        && preset.starts_with("preset-")
    {
        return of_preset(preset);
    }
    let mut reading = Reading::default();
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        let known = ABOUT_FFMPEG.iter().find(|(option, _)| *option == word);
        match (word, known) {
            (_, Some((_, Follows::Nothing))) => {}
            (_, Some((_, Follows::Value))) => drop(rest.next()),
            ("-rtsp_transport", _) => match rest.next() {
                Some("tcp") => {}
                Some("udp") => reading.udp = true,
                other => {
                    return Err(format!("-rtsp_transport {}: camshaft has tcp and udp", other.unwrap_or_default()));
                }
            },
            ("-f", _) => reading.input = format(rest.next().unwrap_or_default())?,
            _ => {
                let shown: String = word.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(format!(
                    "camshaft has no counterpart of '{shown}'; remove it, or keep this camera as it is"
                ));
            }
        }
    }
    Ok(reading)
}

fn of_preset(preset: &str) -> Result<Reading, String> {
    let input = |input| Ok(Reading { udp: false, input: Some(input) });
    match preset {
        "preset-rtsp-generic"
        | "preset-rtsp-restream"
        | "preset-rtsp-restream-low-latency"
        | "preset-rtsp-blue-iris"
        | "preset-rtmp-generic" => Ok(Reading::default()),
        "preset-rtsp-udp" => Ok(Reading { udp: true, input: None }),
        "preset-http-mjpeg-generic" => input("mjpeg"),
        "preset-http-jpeg-generic" => input("jpeg"),
        "preset-http-reolink" => input("flv"),
        _ => {
            Err("this preset is not one of Frigate 0.14 to 0.18; name one of those, or write its arguments out".into())
        }
    }
}

/// ffmpeg's name of a demuxer as a stream's `input`.
fn format(name: &str) -> Result<Option<&'static str>, String> {
    match name {
        "rtsp" => Ok(None),
        "flv" | "live_flv" => Ok(Some("flv")),
        "mpegts" => Ok(Some("ts")),
        "mp4" | "mov" => Ok(Some("mp4")),
        "mpjpeg" | "mjpeg" => Ok(Some("mjpeg")),
        "image2" | "image2pipe" => Ok(Some("jpeg")),
        _ => {
            Err("'-f' names a format that camshaft does not read; it reads flv, mpegts, mp4, mpjpeg and image2".into())
        }
    }
}

/// A filter or option in the arguments of an output that needs a GPU.
pub fn hardware_in(node: &Node) -> Option<String> {
    const MARKS: [&str; 8] = ["_vaapi", "_qsv", "_cuda", "_nvenc", "_rkrga", "_vulkan", "hwdownload", "hwupload"];
    words(node).into_iter().find(|word| MARKS.iter().any(|mark| word.contains(mark)) || word.starts_with("-hwaccel"))
}

/// Arguments as a list.
pub fn words(node: &Node) -> Vec<String> {
    match &*node.value {
        Value::List(items, _) => items.iter().filter_map(|item| item.text().map(str::to_owned)).collect(),
        Value::Scalar(text) => text.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect(),
        Value::Null | Value::Map(..) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frigate::yaml::parse;

    fn of(value: &str) -> Result<Reading, String> {
        reading(parse(&format!("a: {value}\n")).unwrap().root.get("a"))
    }

    #[test]
    fn what_concerns_the_camera_is_kept() {
        assert_eq!(of("preset-rtsp-udp"), Ok(Reading { udp: true, input: None }));
        assert_eq!(of("preset-http-reolink"), Ok(Reading { udp: false, input: Some("flv") }));
        assert_eq!(of("-avoid_negative_ts make_zero -rtsp_transport udp"), Ok(Reading { udp: true, input: None }));
        assert_eq!(of("[-f, live_flv, -fflags, nobuffer]"), Ok(Reading { udp: false, input: Some("flv") }));
        for (bad, word) in [("-headers A:b", "-headers"), ("preset-mine", "preset"), ("[-f, dshow]", "-f")] {
            assert!(of(bad).unwrap_err().contains(word), "{bad}");
        }
    }
}
