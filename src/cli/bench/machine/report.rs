//! What was found out of a machine: the JSON file, and its tables.

use serde::{Deserialize, Serialize};

use super::budgets::Budgets;
use super::cameras::Step;
use super::clip::Kind;
use super::compare::Comparison;
use super::work::Work;
use crate::hw::{DeviceReport, DevicesReport};
#[cfg(test)]
use crate::media::{Geometry, VideoCodec};
use crate::plan::{Backend, Candidate};

/// Names the file for what reads it.
pub const FORMAT: &str = "camshaft-bench-machine";
/// Of [`FORMAT`]; counts up with changes that old readers would misread.
pub const VERSION: u32 = 1;
/// Between runs of the same work, past which figures are doubtful.
const WIDE: f64 = 0.15;
/// For each CPU, before anything was started.
const BUSY: f64 = 0.3;

/// Everything.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// camshaft's version.
    pub camshaft: String,
    /// When it was begun, RFC 3339.
    pub taken: String,
    /// What machine it is.
    pub machine: Machine,
    /// The program beside, as it names itself; null without one.
    pub ffmpeg: Option<String>,
    /// How often each figure was taken.
    pub repeats: u32,
    /// Seconds of each.
    pub seconds: u64,
    /// One for each work, kind of camera and way.
    pub rates: Vec<Rate>,
    /// One for each kind of camera and way.
    pub cameras: Vec<Cameras>,
    /// What admission should be given; null if it was not found out.
    pub budgets: Option<Budgets>,
    /// Why the figures may be wrong.
    pub noise: Vec<String>,
    /// What became of an earlier report's figures; null unless one was given.
    pub compared: Option<Comparison>,
}

/// What tells machines apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's name.
    pub cpu: String,
    /// How many this process may use.
    pub cpus: usize,
    /// E.g. `x86_64`.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// Processes that ran or wanted to, on average of the minute before.
    pub load: f64,
    /// The GPUs.
    pub devices: Vec<Device>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its render node.
    pub path: Option<String>,
    /// Vendor and device, E.g. `8086:46d1`.
    pub id: String,
    /// Its generation, where it is known.
    pub generation: Option<String>,
    /// The VA driver that was loaded.
    pub driver: Option<String>,
}

/// Figures of several runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// All, as they were taken.
    pub samples: Vec<f64>,
}

/// Where the stages run: `software`, or the path of a render node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Packets to pictures.
    pub decode: String,
    /// Crop, scale and convert.
    pub scale: String,
    /// Pictures to packets; null where nothing is encoded.
    pub encode: Option<String>,
}

/// How fast one work is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rate {
    /// What comes in.
    #[serde(flatten)]
    pub kind: Kind,
    /// What is done.
    pub work: Work,
    /// Where.
    pub way: Way,
    /// Workers at once.
    pub at_once: usize,
    /// Pictures a second of all together; null if it failed.
    pub fps: Option<Figures>,
    /// CPU milliseconds for a second of one stream.
    pub cpu_ms: Option<Figures>,
    /// Milliseconds that the GPU worked for a second of one stream; null where the kernel does not say.
    pub gpu_ms: Option<Figures>,
    /// From packet to picture, of one stream in real time; null where nothing comes out.
    pub latency_ms: Option<Figures>,
    /// The same by ffmpeg; null where it was not run.
    pub ffmpeg: Option<Beside>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

/// What the ffmpeg program took for it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Beside {
    /// Pictures a second of all processes together.
    pub fps: Option<Figures>,
    /// CPU milliseconds for a second of one stream.
    pub cpu_ms: Option<Figures>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

/// How many cameras of one kind fit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cameras {
    /// What they send.
    #[serde(flatten)]
    pub kind: Kind,
    /// `hardware` or `software`.
    pub decoded_by: String,
    /// The most that were on time.
    pub fit: u32,
    /// More were not tried.
    pub is_bounded: bool,
    /// What was tried.
    pub steps: Vec<Step>,
    /// Why nothing was found out.
    pub failure: Option<String>,
}

impl Machine {
    /// This one, with the GPUs of `devices`.
    pub fn here(devices: &DevicesReport) -> Self {
        let line = |path| std::fs::read_to_string(path).unwrap_or_default();
        let information = line("/proc/cpuinfo");
        let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let release = line("/etc/os-release");
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let load = line("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
        Self {
            cpu: model.map_or("unknown CPU", |(_, name)| name).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: line("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: name.map_or("unknown system", |name| name.trim_matches('"')).to_owned(),
            load: load.unwrap_or_default(),
            devices: devices.devices.iter().map(Device::from).collect(),
        }
    }

    /// What this machine and `other` differ in, if they are two.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let ids =
            |machine: &Self| machine.devices.iter().map(|device| device.id.clone()).collect::<Vec<_>>().join(", ");
        let facts = |machine: &Self| {
            let gpus = ids(machine);
            let gpus = if gpus.is_empty() { "no GPU".to_owned() } else { format!("GPU {gpus}") };
            format!("{} with {} CPUs and {gpus}", machine.cpu, machine.cpus)
        };
        let (this, that) = (facts(self), facts(other));
        (this != that).then(|| format!("{that}; this one is {this}"))
    }
}

impl From<&DeviceReport> for Device {
    fn from(report: &DeviceReport) -> Self {
        let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "?".to_owned());
        Self {
            path: report.path.clone(),
            id: format!("{}:{}", id(&report.vendor_id), id(&report.device_id)),
            generation: report.generation.clone(),
            driver: report.va_driver.clone(),
        }
    }
}

impl Figures {
    /// Of `samples`; `None` for none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let median = if sorted.len().is_multiple_of(2) { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 } else { upper };
        Some(Self { median, min, max, samples: samples.to_vec() })
    }

    /// How far apart they are, as a share of the median.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }
}

impl From<&Candidate> for Way {
    fn from(candidate: &Candidate) -> Self {
        let place = |backend: &Backend| backend.device().unwrap_or("software").to_owned();
        Self {
            decode: place(&candidate.decode),
            scale: place(&candidate.scale),
            encode: candidate.encode.as_ref().map(place),
        }
    }
}

impl Way {
    /// In few words: `software`, `renderD128`, or `renderD128, software, software` for its stages.
    pub fn short(&self) -> String {
        let name = |place: &str| place.rsplit('/').next().unwrap_or(place).to_owned();
        let mut places: Vec<String> =
            [&self.decode, &self.scale].into_iter().chain(&self.encode).map(|p| name(p)).collect();
        if places.iter().all(|place| *place == places[0]) {
            places.truncate(1);
        }
        places.join(", ")
    }
}

impl Report {
    /// Whether camshaft could be measured in all ways.
    pub fn is_whole(&self) -> bool {
        self.rates.iter().all(|rate| rate.failure.is_none()) && self.cameras.iter().all(|kind| kind.failure.is_none())
    }

    /// Why the figures may be wrong.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let Machine { load, cpus, .. } = self.machine;
        if load > BUSY * cpus as f64 {
            doubts.push(format!("the machine was busy before the start: load {load} on {cpus} CPUs"));
        }
        if self.repeats == 1 {
            doubts.push("each figure was taken once: nothing is known of its spread".to_owned());
        }
        let wide: Vec<f64> =
            self.rates.iter().filter_map(|rate| rate.fps.as_ref()).map(Figures::spread).filter(|s| *s > WIDE).collect();
        if let Some(worst) = wide.iter().copied().reduce(f64::max) {
            let (count, all, worst) = (wide.len(), self.rates.len(), worst * 100.0);
            doubts.push(format!(
                "{count} of {all} rates differ by more than 15 % from run to run, the worst by {worst:.0} %"
            ));
        }
        doubts
    }
}

#[cfg(test)]
impl Report {
    /// One figure of a machine with these GPUs.
    pub fn example(devices: &DevicesReport) -> Self {
        let kind = Kind { codec: VideoCodec::H264, size: Geometry::new(1920, 1080) };
        let place = "/dev/dri/renderD128".to_owned();
        let rate = Rate {
            kind,
            work: Work::Decode,
            way: Way { decode: place.clone(), scale: place, encode: None },
            at_once: 4,
            fps: Figures::of(&[400.0]),
            cpu_ms: Figures::of(&[3.5]),
            gpu_ms: None,
            latency_ms: None,
            ffmpeg: None,
            failure: None,
        };
        let machine = Machine {
            cpu: "some CPU".into(),
            cpus: 4,
            kernel: "6.1".into(),
            system: "Debian GNU/Linux 12".into(),
            load: 0.0,
            ..Machine::here(devices)
        };
        Self {
            format: FORMAT.into(),
            version: VERSION,
            camshaft: "0.1.0".into(),
            taken: String::new(),
            machine,
            ffmpeg: None,
            repeats: 1,
            seconds: 4,
            rates: vec![rate],
            cameras: vec![],
            budgets: None,
            noise: vec![],
            compared: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_with_their_spread() {
        let figures = Figures::of(&[100.0, 80.0, 120.0, 110.0]).unwrap();
        assert_eq!((figures.median, figures.min, figures.max), (105.0, 80.0, 120.0));
        assert_eq!((figures.spread() * 105.0).round(), 40.0);
        assert_eq!(Figures::of(&[]), None);
    }

    #[test]
    fn a_way_is_short_where_all_of_it_is_in_one_place() {
        let way = |decode: &str, scale: &str, encode: Option<&str>| {
            Way { decode: decode.into(), scale: scale.into(), encode: encode.map(str::to_owned) }.short()
        };
        assert_eq!(way("software", "software", None), "software");
        assert_eq!(way("/dev/dri/renderD128", "/dev/dri/renderD128", Some("/dev/dri/renderD128")), "renderD128");
        assert_eq!(way("/dev/dri/renderD128", "software", Some("software")), "renderD128, software, software");
    }
}
