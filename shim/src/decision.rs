//! Command in, decision out: pure, so that a table can hold every command line that is known.

use crate::camera::{Camera, Reach};
use crate::command::{Command, File, Setting};
use crate::outputs::{Output, Packets, TO_STDOUT};
use crate::raw::Raw;

/// What becomes of a command.
pub enum Decision {
    /// camshaft serves it.
    Serve(Box<Plan>),
    /// The real ffmpeg runs it as it is, for this reason.
    Delegate(String),
}

/// A command that camshaft serves. Has no `Debug`: arguments may hold a password.
pub struct Plan {
    /// Whose pictures or packets.
    pub camera: Camera,
    /// Raw pictures or samples for standard output.
    pub raw: Option<Raw>,
    /// What stays with a real ffmpeg.
    pub local: Option<Local>,
    /// The whole command for a real ffmpeg without hardware, should camshaft be away.
    pub software: Vec<String>,
}

/// The part of a command that a real ffmpeg makes of packets from camshaft.
pub struct Local {
    /// What it is fed with, as MPEG-TS on its standard input.
    pub packets: Packets,
    /// Its arguments when it is fed.
    pub fed: Vec<String>,
    /// Its arguments when it has to read the camera itself.
    pub direct: Vec<String>,
}

/// Options that choose hardware, and mean nothing without it.
const HARDWARE: [&str; 11] = [
    "hwaccel",
    "hwaccel_device",
    "hwaccel_output_format",
    "hwaccel_flags",
    "qsv_device",
    "vaapi_device",
    "init_hw_device",
    "filter_hw_device",
    "load_plugin",
    "resize",
    "bsf",
];

/// Options that say how the camera is read. camshaft has its own ways; the real ffmpeg takes them along.
const READING: [&str; 15] = [
    "user_agent",
    "avoid_negative_ts",
    "fflags",
    "flags",
    "strict",
    "rtsp_transport",
    "rtsp_flags",
    "timeout",
    "stimeout",
    "rw_timeout",
    "use_wallclock_as_timestamps",
    "analyzeduration",
    "probesize",
    "threads",
    "an",
];

const HARDWARE_DECODERS: [&str; 5] = ["_qsv", "_cuvid", "_v4l2m2m", "_nvmpi", "_rkmpp"];

/// Decides on the words behind the program's name.
pub fn decide(words: &[String], reach: Reach) -> Decision {
    match plan(words, reach) {
        Ok(plan) => Decision::Serve(Box::new(plan)),
        Err(reason) => Decision::Delegate(reason),
    }
}

fn plan(words: &[String], reach: Reach) -> Result<Plan, String> {
    let command = Command::parse(words)?;
    let [input] = &command.inputs[..] else { return Err("it does not have exactly one input".into()) };
    let camera = Camera::parse(&input.target, transport(input)?)?;
    if camera.is_loopback() && reach == Reach::Network {
        return Err("the input is a service of this pod, which camshaft reaches only if CAMSHAFT_URL is unix:".into());
    }
    check_input(input)?;
    let outputs = command.outputs.iter().map(|file| Output::read(file, has(input, "vn"), has(input, "an")));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    if command.outputs.iter().filter(|file| TO_STDOUT.contains(&file.target.as_str())).count() > 1 {
        return Err("two outputs go to standard output".into());
    }
    let raw = outputs.iter().find_map(Output::raw).cloned();
    let local = local(&command, input, &outputs)?;
    if raw.is_none() && local.is_none() {
        return Err("it has no output".into());
    }
    let software = software(&command, input, outputs.iter());
    Ok(Plan { camera, raw, local, software })
}

fn has(file: &File, name: &str) -> bool {
    file.settings.iter().any(|setting| setting.name == name)
}

/// How camshaft is to take RTP. ffmpeg itself tries UDP first where nothing is said; TCP gets through everywhere.
fn transport(input: &File) -> Result<&'static str, String> {
    let said = input.settings.iter().rev().find(|setting| setting.name == "rtsp_transport");
    match said.map(Setting::text) {
        None | Some("tcp") => Ok("tcp"),
        Some("udp") => Ok("udp"),
        Some(_) => Err("-rtsp_transport is neither tcp nor udp".into()),
    }
}

fn check_input(input: &File) -> Result<(), String> {
    for setting in &input.settings {
        let fits = match setting.name {
            "bsf" => setting.text() == "dump_extra",
            "c" | "codec" | "vcodec" => ["h264", "hevc"].contains(&setting.text()) || is_hardware_decoder(setting),
            "vn" => true,
            name => HARDWARE.contains(&name) || READING.contains(&name),
        };
        if !fits {
            return Err(format!("input option -{} is not one that camshaft serves", setting.name));
        }
    }
    Ok(())
}

fn is_hardware_decoder(setting: &Setting) -> bool {
    setting.name == "c" && HARDWARE_DECODERS.iter().any(|family| setting.text().ends_with(family))
}

/// The part of the real ffmpeg. All of it must be made of the same packets, as it has one standard input.
fn local(command: &Command, input: &File, outputs: &[Output]) -> Result<Option<Local>, String> {
    let mut packets: Option<Packets> = None;
    for wanted in outputs.iter().filter_map(Output::packets) {
        packets = Some(match packets {
            None => wanted.clone(),
            Some(packets) => packets.with(wanted).ok_or("its outputs are made of different encodes")?,
        });
    }
    let Some(packets) = packets else { return Ok(None) };
    let mut fed = global(command);
    // ffmpeg always waits this long for further tracks of MPEG-TS; camshaft names them all in the first packets.
    fed.extend(["-analyzeduration", "1000000", "-f", "mpegts"].map(str::to_owned));
    fed.extend(words(input.settings.iter().filter(|setting| ["an", "vn", "threads"].contains(&setting.name))));
    fed.extend(["-i", "pipe:0"].map(str::to_owned));
    fed.extend(outputs.iter().flat_map(Output::fed));
    let direct = software(command, input, outputs.iter().filter(|output| output.packets().is_some()));
    Ok(Some(Local { packets, fed, direct }))
}

/// `outputs` made by the real ffmpeg on the CPU, from the camera itself.
fn software<'a>(command: &Command, input: &File, outputs: impl Iterator<Item = &'a Output>) -> Vec<String> {
    let mut arguments = global(command);
    let kept = |setting: &&Setting| !HARDWARE.contains(&setting.name) && !is_hardware_decoder(setting);
    arguments.extend(words(input.settings.iter().filter(kept)));
    arguments.extend(["-i".to_owned(), input.target.clone()]);
    arguments.extend(outputs.flat_map(Output::software));
    arguments
}

fn global(command: &Command) -> Vec<String> {
    words(command.global.iter().filter(|setting| !HARDWARE.contains(&setting.name))).collect()
}

fn words<'a>(settings: impl Iterator<Item = &'a Setting>) -> impl Iterator<Item = String> {
    settings.flat_map(Setting::words)
}
