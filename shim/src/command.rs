//! A command line as ffmpeg reads it: options gather until an `-i` makes them an input's, or a bare word an output's.

/// What an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A device, which Frigate leaves out where it finds none: its empty string is dropped from the command line, and
    /// the next option stands in its place.
    Device,
}

use Takes::{Device, Nothing, Value};

/// Every option whose meaning is known here, without its stream specifier.
const OPTIONS: &[(&str, Takes)] = &[
    ("hide_banner", Nothing),
    ("nostats", Nothing),
    ("nostdin", Nothing),
    ("y", Nothing),
    ("an", Nothing),
    ("vn", Nothing),
    ("loglevel", Value),
    ("v", Value),
    ("threads", Value),
    // How an input is decoded.
    ("hwaccel", Value),
    ("hwaccel_device", Device),
    ("qsv_device", Device),
    ("vaapi_device", Device),
    ("hwaccel_output_format", Value),
    ("hwaccel_flags", Value),
    ("init_hw_device", Value),
    ("filter_hw_device", Value),
    ("load_plugin", Value),
    ("resize", Value),
    ("bsf", Value),
    // How an input is read.
    ("user_agent", Value),
    ("avoid_negative_ts", Value),
    ("fflags", Value),
    ("flags", Value),
    ("strict", Value),
    ("rtsp_transport", Value),
    ("rtsp_flags", Value),
    ("timeout", Value),
    ("stimeout", Value),
    ("rw_timeout", Value),
    ("use_wallclock_as_timestamps", Value),
    ("analyzeduration", Value),
    ("probesize", Value),
    // What an output is.
    ("f", Value),
    ("c", Value),
    ("codec", Value),
    ("vcodec", Value),
    ("acodec", Value),
    ("r", Value),
    ("vf", Value),
    ("filter", Value),
    ("pix_fmt", Value),
    ("b", Value),
    ("g", Value),
    ("bf", Value),
    ("profile", Value),
    ("level", Value),
    ("sei", Value),
    ("async_depth", Value),
    ("preset", Value),
    ("tune", Value),
    ("ar", Value),
    ("ac", Value),
    ("tag", Value),
    ("segment_time", Value),
    ("segment_format", Value),
    ("segment_format_options", Value),
    ("segment_atclocktime", Value),
    ("reset_timestamps", Value),
    ("strftime", Value),
    ("movflags", Value),
];

/// Options that hold for the whole command wherever they stand.
const GLOBAL: &[&str] = &[
    "hide_banner",
    "nostats",
    "nostdin",
    "y",
    "loglevel",
    "v",
    "init_hw_device",
    "filter_hw_device",
    "vaapi_device",
    "qsv_device",
];

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, without `-` and stream specifier.
    pub name: &'static str,
    /// The stream specifier: `v` in `-c:v`; empty if there is none.
    pub specifier: String,
    /// Its value; `None` for a switch and for a device that is missing.
    pub value: Option<String>,
}

impl Setting {
    /// The value, or nothing.
    pub fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// As it stands on a command line.
    pub fn words(&self) -> impl Iterator<Item = String> + use<> {
        let colon = if self.specifier.is_empty() { "" } else { ":" };
        let name = format!("-{}{colon}{}", self.name, self.specifier);
        std::iter::once(name).chain(self.value.clone())
    }
}

/// An input or output with its options. Has no `Debug`: a URL may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its options, in their order.
    pub settings: Vec<Setting>,
    /// Path, URL or `pipe:`.
    pub target: String,
}

/// A whole command line. Has no `Debug`: a URL may hold a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Options that hold for all files.
    pub global: Vec<Setting>,
    /// What follows each `-i`.
    pub inputs: Vec<File>,
    /// The bare words.
    pub outputs: Vec<File>,
}

impl Command {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// Why only the real ffmpeg can say what they mean; quotes nothing but names of options.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut command = Self::default();
        let mut gathered = Vec::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("i") => {
                    let target = words.next().ok_or("-i names no input")?.clone();
                    command.inputs.push(File { settings: std::mem::take(&mut gathered), target });
                }
                Some(option) if !option.is_empty() => {
                    let (setting, takes) = known(option)?;
                    let value = match takes {
                        Nothing => None,
                        Device if words.peek().is_some_and(|next| next.starts_with('-')) => None,
                        Value | Device => Some(words.next().ok_or_else(|| format!("-{option} has no value"))?.clone()),
                    };
                    let global = GLOBAL.contains(&setting.name);
                    let into = if global { &mut command.global } else { &mut gathered };
                    into.push(Setting { value, ..setting });
                }
                _ => {
                    let target = word.clone();
                    command.outputs.push(File { settings: std::mem::take(&mut gathered), target });
                }
            }
        }
        if gathered.is_empty() { Ok(command) } else { Err("options stand behind the last output".into()) }
    }
}

fn known(option: &str) -> Result<(Setting, Takes), String> {
    let (name, specifier) = option.split_once(':').unwrap_or((option, ""));
    let (name, takes) = OPTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| format!("option -{name} is not one that camshaft serves"))?;
    Ok((Setting { name, specifier: specifier.to_owned(), value: None }, *takes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(&shlex::split(line).unwrap())
    }

    #[test]
    fn options_belong_to_the_file_behind_them() {
        let command = parse("-hide_banner -r 5 -i in -c:v copy first -y -an -f null -").ok().unwrap();
        assert_eq!((command.inputs.len(), command.outputs.len(), command.global.len()), (1, 2, 2));
        assert_eq!(command.inputs[0].settings[0].text(), "5");
        let [copy] = &command.outputs[0].settings[..] else { panic!("one option") };
        assert_eq!((copy.name, copy.specifier.as_str(), copy.text()), ("c", "v", "copy"));
        assert_eq!(command.outputs[1].target, "-");
        assert_eq!(copy.words().collect::<Vec<_>>(), ["-c:v", "copy"]);
    }

    #[test]
    fn a_device_may_be_missing() {
        let command = parse("-hwaccel_device -hwaccel_output_format vaapi -i in out").ok().unwrap();
        assert_eq!(command.inputs[0].settings.len(), 2);
        assert_eq!(command.inputs[0].settings[0].value, None);
        let command = parse("-hwaccel_device /dev/dri/renderD128 -i in out").ok().unwrap();
        assert_eq!(command.inputs[0].settings[0].text(), "/dev/dri/renderD128");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for (line, reason) in [
            ("-frobnicate 3 -i in out", "-frobnicate"),
            ("-i", "names no input"),
            ("-i in out -r", "has no value"),
            ("-i in out -r 5", "behind the last output"),
        ] {
            let problem = parse(line).err().unwrap_or_else(|| panic!("{line} was taken"));
            assert!(problem.contains(reason), "{line}: {problem}");
        }
    }
}
