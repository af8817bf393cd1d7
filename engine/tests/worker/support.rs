//! The supervisor's side of the link, for tests: a worker on a socket pair, and clips from the synthetic camera.

use bytes::Bytes;
use camshaft::link::{FromWorker, PixelsTask, RenditionId, Role, ToWorker, wire};
use camshaft::media::FrameHeader;
use camshaft::media::pattern::{Painter, read_number};
use camshaft::media::{
    Cadence, Crop, FrameRate, Geometry, MediaTime, OutputSpec, PacketHeader, PatternSource, PixelFormat, RenditionSpec,
    VideoCodec, VideoConfig, nal,
};
use camshaft::plan::{Backend, Candidate};
use camshaft::sandbox::Confinement;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than anything takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Worker {
    child: Child,
    link: UnixStream,
    incoming: Receiver<(FromWorker, Bytes)>,
}

impl Worker {
    /// A worker without a role.
    pub fn spare() -> Self {
        let (link, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_camshaft-engine"))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, incoming) = channel();
        let mut reader = link.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Ok(Some(message)) = wire::receive::<FromWorker>(&mut reader) {
                if matches!(message.0, FromWorker::Confined(_)) {
                    continue;
                }
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let worker = Self { child, link, incoming };
        // AddressSanitizer's shadow counts as a process's memory, terabytes of it: `make sanitize` does without limits.
        if std::env::var_os("CAMSHAFT_TESTS_UNCONFINED").is_some() {
            let none = Confinement { layers: Vec::new(), ..Confinement::default() };
            worker.send(&ToWorker::Confine(none));
        }
        worker
    }

    /// A worker that has been given `role`.
    pub fn begin(role: Role) -> Self {
        let worker = Self::spare();
        worker.send(&ToWorker::Begin(role));
        worker
    }

    /// A pixels worker that is ready for packets of `config`.
    pub fn pixels(config: &VideoConfig) -> Self {
        let worker = Self::begin(Role::Pixels(PixelsTask {
            config: config.clone(),
            decode: Backend::Software,
            sample_ticks: None,
        }));
        assert!(matches!(worker.next().0, FromWorker::Ready));
        worker
    }

    pub fn send(&self, message: &ToWorker) {
        self.send_with(message, &[]);
    }

    pub fn send_with(&self, message: &ToWorker, payload: &[u8]) {
        wire::send(&mut &self.link, message, payload).unwrap();
    }

    pub fn send_bytes(&self, mut bytes: &[u8]) {
        std::io::copy(&mut bytes, &mut &self.link).unwrap();
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn add(&self, id: RenditionId, spec: RenditionSpec) {
        self.add_after(id, spec, None);
    }

    pub fn add_after(&self, id: RenditionId, spec: RenditionSpec, after: Option<MediaTime>) {
        let encode = matches!(spec.output, OutputSpec::Encode(_)).then_some(Backend::Software);
        let stages = Candidate { decode: Backend::Software, scale: Backend::Software, encode, mode: None };
        self.send(&ToWorker::AddRendition { id, spec, stages, after });
    }

    pub fn next(&self) -> (FromWorker, Bytes) {
        self.incoming.recv_timeout(PATIENCE).expect("the worker says something")
    }

    /// Feeds one packet and gives what comes of it, up to and without `Consumed`, whose counts come last.
    pub fn feed(&self, header: PacketHeader, data: &[u8]) -> (Vec<(FromWorker, Bytes)>, (u64, u64)) {
        self.send_with(&ToWorker::Packet(header), data);
        let mut out = Vec::new();
        loop {
            match self.next() {
                (FromWorker::Consumed { decoded, broken }, _) => return (out, (decoded, broken)),
                message => out.push(message),
            }
        }
    }

    /// Feeds a whole clip, drains, and gives all that came of it.
    pub fn play(&self, clip: &Clip) -> Vec<(FromWorker, Bytes)> {
        let mut out = Vec::new();
        for (header, data) in &clip.packets {
            out.extend(self.feed(*header, data).0);
        }
        out.extend(self.drain());
        out
    }

    pub fn drain(&self) -> Vec<(FromWorker, Bytes)> {
        self.send(&ToWorker::Drain);
        let mut out = Vec::new();
        loop {
            match self.next() {
                (FromWorker::Drained, _) => return out,
                message => out.push(message),
            }
        }
    }

    /// Closes the link; the worker's exit status and standard error.
    pub fn end(mut self) -> (ExitStatus, String) {
        let _ = self.link.shutdown(Shutdown::Write);
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap(), stderr)
    }

    /// As [`Worker::end`], but with the link left open: the worker ends by itself.
    pub fn ends_by_itself(mut self) -> (ExitStatus, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap(), stderr)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A recording of the synthetic camera.
pub struct Clip {
    pub config: VideoConfig,
    pub packets: Vec<(PacketHeader, Bytes)>,
}

pub const FPS: FrameRate = FrameRate { num: 25, den: 1 };

/// A camera of that size whose pictures decode to nearly what was drawn.
pub fn camera(codec: VideoCodec, size: Geometry) -> PatternSource {
    PatternSource { size, fps: FPS, codec, gop: 12, bframes: 0, bitrate: 4_000_000, noise: 0, audio: None }
}

/// `count` packets of the camera, recorded eight times as fast as it says.
pub fn record(source: PatternSource, count: usize) -> Clip {
    const HASTE: u32 = 8;
    let fast = FrameRate { num: source.fps.num * HASTE, den: source.fps.den };
    let worker = Worker::begin(Role::Pattern(PatternSource { fps: fast, ..source }));
    assert!(matches!(worker.next().0, FromWorker::Ready));
    let (FromWorker::VideoConfig(mut config), _) = worker.next() else { panic!("the configuration comes first") };
    config.frame_rate = Some(source.fps);
    let mut packets = Vec::new();
    while packets.len() < count {
        let (FromWorker::Packet(mut header), data) = worker.next() else { panic!("only packets follow") };
        header.pts.0 *= i64::from(HASTE);
        header.dts.0 *= i64::from(HASTE);
        packets.push((header, data));
    }
    Clip { config, packets }
}

pub fn h264_clip(size: Geometry, count: usize) -> Clip {
    record(camera(VideoCodec::H264, size), count)
}

/// The clip's parameter sets as they stand in front of an access unit.
pub fn in_band(config: &VideoConfig) -> Bytes {
    nal::length_prefixed(config.parameter_sets.iter().map(|set| &set[..]))
}

pub fn raw(format: PixelFormat, size: Geometry) -> RenditionSpec {
    RenditionSpec { crop: None, size, cadence: Cadence::Every, output: OutputSpec::Raw(format) }
}

pub fn cropped(spec: RenditionSpec, width: u32, height: u32, x: u32, y: u32) -> RenditionSpec {
    RenditionSpec { crop: Some(Crop { width, height, x, y }), ..spec }
}

/// The frames of rendition `id`.
pub fn frames(messages: &[(FromWorker, Bytes)], id: RenditionId) -> Vec<(FrameHeader, Bytes)> {
    let of_id = |(message, payload): &(FromWorker, Bytes)| match message {
        FromWorker::Frame { id: found, header } if *found == id => Some((*header, payload.clone())),
        _ => None,
    };
    messages.iter().filter_map(of_id).collect()
}

/// The number in a raw picture of any format.
pub fn number(format: PixelFormat, header: &FrameHeader, pixels: &[u8]) -> Option<u32> {
    let width = header.size.width as usize;
    match format {
        PixelFormat::Rgb24 | PixelFormat::Bgr24 => {
            let green: Vec<u8> = pixels.iter().skip(1).step_by(3).copied().collect();
            read_number(&green, header.size, width)
        }
        _ => read_number(pixels, header.size, width),
    }
}

/// (number, time) of the I420 or gray frames of rendition `id`.
pub fn numbers(messages: &[(FromWorker, Bytes)], id: RenditionId) -> Vec<(u32, i64)> {
    let read = |(header, pixels): &(FrameHeader, Bytes)| {
        (number(PixelFormat::Gray, header, pixels).expect("a number"), header.pts.0)
    };
    frames(messages, id).iter().map(read).collect()
}

/// Luma PSNR in dB of an I420 or gray picture against what was drawn.
pub fn psnr(painter: &Painter, number: u32, picture: &[u8], size: Geometry) -> f64 {
    let mut drawn = Vec::new();
    painter.draw(number, &mut drawn);
    let luma = size.pixels() as usize;
    let squares = picture[..luma].iter().zip(&drawn[..luma]).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let error = squares.sum::<f64>() / luma as f64;
    10.0 * (255.0 * 255.0 / error.max(1e-9)).log10()
}
