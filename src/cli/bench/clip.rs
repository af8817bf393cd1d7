//! The camera-like clip that both sides are fed: a still scene with grain and sensor noise in which a few things move.
//! Like footage of a fixed camera, about five macroblocks in six are skipped and an I frame is fifteen times a P frame.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::error::{Error, Result};

/// A whole number of GOPs; the camera plays the clip over and over.
const SECONDS: u32 = 20;
/// As many pictures.
pub const PICTURES: u32 = SECONDS * 25;

/// What the clip is, for the report.
pub const DESCRIPTION: &str = "1920x1080, 25 fps, H.264 Main, 4 Mbit/s, GOP 2 s, no B frames";

const SCENE: &str = "\
    color=c=0x6b7b6b:s=1920x1080:r=25,noise=alls=10[wall];\
    color=c=0x9a5a4a:s=320x240:r=25,noise=alls=13:allf=t[car];\
    color=c=0x304a70:s=200x420:r=25,noise=alls=13:allf=t[person];\
    color=c=0xd0d0c0:s=160x160:r=25,noise=alls=13:allf=t[bird];\
    [wall][car]overlay=x='mod(t*140,2140)-220':y=620[a];\
    [a][person]overlay=x='900+500*sin(t*0.7)':y='380+60*cos(t)'[b];\
    [b][bird]overlay=x='1700-mod(t*90,1800)':y='200+40*sin(t*2)',noise=alls=3:allf=t,format=yuv420p[scene]";

const ENCODER: &str = "\
    -c:v libx264 -preset fast -profile:v main -refs 1 -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 -b:v 4M";

/// The clip's path in `work`; makes it if it is not there yet.
pub fn prepare(work: &Path) -> Result<PathBuf> {
    let mut recipe = DefaultHasher::new();
    (SCENE, ENCODER, SECONDS).hash(&mut recipe);
    let clip = work.join(format!("clip-{:016x}.mp4", recipe.finish()));
    if clip.exists() {
        return Ok(clip);
    }
    eprintln!("making the clip ({DESCRIPTION}), once: {}", clip.display());
    // Only a whole clip gets the name that the next run looks for.
    let unfinished = work.join("unfinished.mp4");
    encode(&unfinished)?;
    fs::rename(&unfinished, &clip)
        .map_err(|error| Error::unavailable(format!("cannot write {}", clip.display())).with_source(error))?;
    Ok(clip)
}

fn encode(to: &Path) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-stats", "-y"]);
    command.args(["-filter_complex", SCENE, "-map", "[scene]", "-t", &SECONDS.to_string()]);
    command.args(ENCODER.split_whitespace()).arg(to);
    let status = command.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::unavailable("there is no ffmpeg: apt-get install ffmpeg").with_source(error),
        _ => Error::unavailable("cannot run ffmpeg").with_source(error),
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::unavailable(format!("ffmpeg could not make the clip ({status}); what it said is above")))
}
