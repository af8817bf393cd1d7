//! Clips, and what the independent ffmpeg makes of them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Mutex;

use crate::machine::run;

/// ffmpeg on this very machine, in software.
pub fn software(arguments: &[&str]) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "error", "-y"]).args(arguments);
    command
}

/// A clip of the test pattern, made once: `name` has the container's suffix.
pub fn clip(name: &str, size: &str, encoder: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let mut recipe = DefaultHasher::new();
    (size, encoder).hash(&mut recipe);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{:016x}-{name}", recipe.finish()));
    let _making = MAKING.lock();
    if path.exists() {
        return path;
    }
    let unfinished = path.with_file_name(format!("{}-{name}", process::id()));
    let source = format!("testsrc2=s={size}:r=25:d=1.2");
    let encoder: Vec<&str> = encoder.split(' ').collect();
    let input = ["-f", "lavfi", "-i", source.as_str()];
    run(&mut software(&[&input, encoder.as_slice(), &[unfinished.to_str().unwrap()]].concat()));
    fs::rename(&unfinished, &path).unwrap();
    path
}

/// Digests of the frames or packets in the output of ffmpeg's framemd5.
pub fn digests(framemd5: &[u8]) -> Vec<String> {
    column(framemd5, 5)
}

/// Sizes in the output of ffmpeg's framemd5.
pub fn sizes(framemd5: &[u8]) -> Vec<String> {
    column(framemd5, 4)
}

fn column(framemd5: &[u8], number: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(framemd5);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(',').nth(number).expect("framemd5 has six columns").trim().to_owned()).collect()
}

/// Frames of `path`, decoded in software and turned into `format` by `filter`.
pub fn software_digests(path: &Path, filter: &str, format: &str) -> Vec<String> {
    let arguments = ["-i", path.to_str().unwrap(), "-vf", filter, "-pix_fmt", format, "-f", "framemd5", "-"];
    digests(&run(&mut software(&arguments)))
}

/// All pixels of `path`, decoded in software to I420 in limited range.
pub fn pixels(path: &Path) -> Vec<u8> {
    let filter = "scale=out_range=limited,format=yuv420p";
    run(&mut software(&["-i", path.to_str().unwrap(), "-vf", filter, "-f", "rawvideo", "-"]))
}

/// Peak signal to noise ratio in dB of pictures of the same size.
pub fn psnr(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len(), "other sizes or another number of pictures");
    assert!(!one.is_empty());
    let squares: f64 = one.iter().zip(other).map(|(one, other)| f64::from(one.abs_diff(*other)).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) / (squares / one.len() as f64)).log10()
}

/// What ffprobe says of the first stream: `key` of its fields.
pub fn stream_field(path: &Path, key: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0", "-show_entries"]);
    command.arg(format!("stream={key}")).arg(path);
    String::from_utf8(run(&mut command)).unwrap().trim().to_owned()
}

/// Picture types of all frames, as letters in output order.
pub fn picture_types(path: &Path) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0", "-show_entries", "frame=pict_type"]);
    String::from_utf8(run(command.arg(path))).unwrap().chars().filter(char::is_ascii_alphabetic).collect()
}
