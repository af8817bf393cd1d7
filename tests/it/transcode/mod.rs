//! Transcode requests through the front door, with ffmpeg's files and ffprobe's eyes.

mod clients;
mod command;
mod inputs;
mod outputs;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Camshaft, Clip, Coding, command_output, ffprobe_packets};

const FRAMES: u32 = 100;

fn clip() -> Clip {
    Clip::make(Coding { frames: FRAMES, audio: true, bframes: 2, ..Coding::default() })
}

/// The clip in another container, copied or encoded by ffmpeg.
fn file(dir: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let clip = clip();
    let mut all = vec!["-v", "error", "-y", "-i", clip.path.to_str().unwrap()];
    all.extend(arguments);
    all.push(path.to_str().unwrap());
    command_output("ffmpeg", &all);
    path
}

struct Answer {
    status: String,
    headers: String,
    whole: bool,
    path: PathBuf,
}

/// curl, as users run it: headers and trailers in one text, the body in a file.
fn post(server: &Camshaft, query: &str, body: &Path, into: &Path) -> Answer {
    let url = server.url(&format!("/v1/transcode?{query}"));
    let output = Command::new("curl")
        .args(["-sN", "-D", "-", "-H", "TE: trailers", "-H", "Expect:", "-o"])
        .arg(into)
        .args(["-w", "\nSTATUS=%{http_code}", "-T"])
        .arg(body)
        .args(["-X", "POST", &url])
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.rsplit_once("STATUS=").map(|(_, status)| status.to_owned()).unwrap_or_default();
    Answer { status, headers: text, whole: output.status.success(), path: into.to_owned() }
}

fn probe(path: &Path, entries: &str) -> String {
    let path = path.to_str().unwrap();
    let text = command_output("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "default=nw=1", path]);
    String::from_utf8(text).unwrap()
}

fn frames(path: &Path) -> usize {
    ffprobe_packets(path.to_str().unwrap(), "v:0").len()
}

fn said(answer: &Answer) -> String {
    String::from_utf8_lossy(&std::fs::read(&answer.path).unwrap_or_default()).chars().take(400).collect()
}

/// Sends the head of a request whose body comes in chunks.
fn begin(server: &Camshaft, query: &str) -> TcpStream {
    let url = server.url("");
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /v1/transcode?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Sends a piece of the body (RFC 9112 §7.1).
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    write!(stream, "{:x}\r\n", bytes.len()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.write_all(b"\r\n").unwrap();
}

/// Reads until something of the answer's body is there.
fn read_to_media(stream: &mut TcpStream) {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).unwrap();
        answer.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&answer);
        assert!(length > 0 && "HTTP/1.1 200".starts_with(&text[..text.len().min(12)]), "{text}");
        if answer.windows(4).position(|window| window == b"\r\n\r\n").is_some_and(|end| answer.len() > end + 4) {
            return;
        }
    }
}

fn dechunked(answer: &[u8]) -> Vec<u8> {
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let mut rest = &answer[start..];
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
}
