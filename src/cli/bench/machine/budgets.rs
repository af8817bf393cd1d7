//! What admission should be given here, and the file that says so to the service.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::cameras::{DETECT_FPS, detect_size};
use super::clip::FPS;
use super::files::Pending;
use super::report::{Cameras, Rate};
use super::work::Work;
use crate::config::{self, Document, Lookups};
use crate::error::{Error, Result};
use crate::plan::{self, Backend, Cost, Resource};

/// Of what the cameras that fit cost: night is noisier than the clip.
const OF_CAMERAS: u64 = 90;
/// Of what is decoded as fast as it goes: the rest is for everything beside decoding.
const OF_DECODING: u64 = 75;
/// The least that a budget may be.
const LEAST: u64 = 1_000_000;
/// How a file begins that may be written over.
const MARK: &str = "# Measured by `camshaft bench machine --calibrate`";
const KEYS: [&str; 2] = ["software_pixels", "device_pixels"];

/// What all work together may cost, in pixels per second as admission counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// `limits.software_pixels`.
    pub software_pixels: Option<u64>,
    /// `limits.device_pixels`, of each of the GPUs.
    pub device_pixels: Option<u64>,
}

impl Budgets {
    /// The least that any kind of camera comes to; `None` if not one fitted.
    pub fn of(rates: &[Rate], cameras: &[Cameras], gpus: usize) -> Option<Self> {
        let least = |decoded_by: &str, share: u64| {
            let of = cameras.iter().filter(|cameras| cameras.decoded_by == decoded_by);
            of.filter_map(|cameras| pixels(cameras, rates)).map(|pixels| pixels / share).filter(|p| *p >= LEAST).min()
        };
        let budgets =
            Self { software_pixels: least("software", 1), device_pixels: least("hardware", gpus.max(1) as u64) };
        (budgets.software_pixels.is_some() || budgets.device_pixels.is_some()).then_some(budgets)
    }

    fn yaml(self) -> String {
        let values = KEYS.into_iter().zip([self.software_pixels, self.device_pixels]);
        let lines = values.filter_map(|(key, pixels)| Some(format!("  {key}: {}M\n", pixels? / 1_000_000)));
        format!("limits:\n{}", lines.collect::<String>())
    }
}

/// What cameras of a kind came to. Where more were not tried, how fast they are decoded says more.
fn pixels(cameras: &Cameras, rates: &[Rate]) -> Option<u64> {
    let backend = match cameras.decoded_by.as_str() {
        "software" => Backend::Software,
        _ => Backend::Vaapi { device: "a GPU".to_owned() },
    };
    let resource = Resource::from(&backend);
    let (from, made) = (cameras.kind.size, detect_size(cameras.kind));
    let decode = |pictures: u64| {
        let mut cost = Cost::default();
        cost.add(&backend, plan::Work::Decode(cameras.kind.codec), from.pixels() * pictures);
        cost
    };
    let mut each = decode(FPS.into());
    if made != from {
        each.add(&backend, plan::Work::Scale, made.pixels() * u64::from(DETECT_FPS));
    }
    let fitted = u64::from(cameras.fit) * each.of(&resource) * OF_CAMERAS / 100;
    let is_same = |rate: &&Rate| {
        let is_software = rate.way.decode == "software";
        rate.kind == cameras.kind && rate.work == Work::Decode && is_software == (backend == Backend::Software)
    };
    let fps = rates.iter().filter(is_same).filter_map(|rate| rate.fps.as_ref()).map(|fps| fps.median as u64).min();
    let decoded = fps.filter(|_| cameras.is_bounded).map(|fps| decode(fps).of(&resource) * OF_DECODING / 100);
    Some(fitted.max(decoded.unwrap_or(0))).filter(|pixels| *pixels > 0)
}

/// A file for `conf.d/` that does not exist yet.
#[derive(Debug)]
pub struct Fragment {
    file: Pending,
}

impl Fragment {
    /// Makes sure that `path` can be written, and that the service will take it.
    ///
    /// # Errors
    /// If there is a file that was not written by this, or another one of the configuration sets the same keys.
    pub fn prepare(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) if !text.starts_with(MARK) => {
                let message =
                    format!("{} was not written by --calibrate and is left alone: name another", path.display());
                return Err(Error::invalid(message));
            }
            Ok(_) | Err(_) => {} // what cannot be written is said next
        }
        if let Some((other, key)) = others(path).find_map(|other| Some((other.clone(), sets(&other)?))) {
            return Err(Error::invalid(format!(
                "{} sets limits.{key}, and no key may stand in two files: take it out there, or name a file outside conf.d",
                other.display()
            )));
        }
        Ok(Self { file: Pending::create("the budgets", path)? })
    }

    /// Writes it.
    ///
    /// # Errors
    /// If there are no budgets, or the file cannot be written.
    pub fn write(self, budgets: Option<Budgets>, about: &str) -> Result<PathBuf> {
        let budgets = budgets.ok_or_else(|| {
            Error::unavailable("not one camera fits this machine, so that there is no budget to write: see the table")
        })?;
        let yaml = budgets.yaml();
        let text =
            format!("{MARK}: {about}.\n# For conf.d/ beside camshaft.yaml. docs/tuning.md says what it means.\n{yaml}");
        let lookups =
            Lookups { env: &|_| None, file: &|_| Err(std::io::ErrorKind::NotFound.into()), env_overrides: &[] };
        config::load(&[Document { name: "the budgets".into(), text: &text }], &lookups)
            .map_err(|mistakes| Error::internal(format!("what was measured is no configuration: {mistakes}")))?;
        self.file.keep(|file| file.write_all(text.as_bytes()))
    }
}

/// The other files of a configuration that has `path` in its `conf.d`.
fn others(path: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let folder = folder.filter(|folder| folder.file_name().is_some_and(|name| name == "conf.d"));
    let folders = folder.into_iter().flat_map(|folder| [folder.parent().map(Path::to_owned), Some(folder)]).flatten();
    let files =
        folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten()).map(|entry| entry.path());
    let name = path.file_name().map(ToOwned::to_owned);
    files.filter(move |file| file.extension().is_some_and(|end| end == "yaml") && file.file_name() != name.as_deref())
}

/// The budget that a file sets. One that cannot be read, or is no YAML, is for the service to complain of.
fn sets(file: &Path) -> Option<&'static str> {
    let value: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(file).ok()?).ok()?;
    KEYS.into_iter().find(|key| !value["limits"][key].is_null())
}

#[cfg(test)]
mod tests {
    use super::super::report::{Figures, Way};
    use super::*;
    use crate::media::{Geometry, VideoCodec};

    const KIND: super::super::clip::Kind =
        super::super::clip::Kind { codec: VideoCodec::H264, size: Geometry { width: 1920, height: 1080 } };

    fn cameras(decoded_by: &str, fit: u32, is_bounded: bool) -> Cameras {
        let decoded_by = decoded_by.to_owned();
        Cameras { kind: KIND, decoded_by, fit, is_bounded, steps: vec![], failure: None }
    }

    fn decode(place: &str, fps: f64) -> Rate {
        let way = Way { decode: place.into(), scale: place.into(), encode: None };
        let (fps, cpu_ms, gpu_ms, latency_ms, ffmpeg, failure) = (Figures::of(&[fps]), None, None, None, None, None);
        Rate { kind: KIND, work: Work::Decode, way, at_once: 2, fps, cpu_ms, gpu_ms, latency_ms, ffmpeg, failure }
    }

    #[test]
    fn budgets_are_what_the_cameras_that_fit_cost() {
        let each = 1920 * 1080 * 25 + 1280 * 720 * 5;
        let budgets = Budgets::of(&[decode("software", 400.0)], &[cameras("software", 7, false)], 0).unwrap();
        assert_eq!(budgets, Budgets { software_pixels: Some(7 * each * 9 / 10), device_pixels: None });
        // More were not tried: what is decoded says more.
        let bounded = Budgets::of(&[decode("software", 400.0)], &[cameras("software", 2, true)], 0).unwrap();
        assert_eq!(bounded.software_pixels, Some(1920 * 1080 * 400 * 3 / 4));
        // Both GPUs shared the cameras; each gets its half. Scaling costs a quarter there.
        let on_two = Budgets::of(&[], &[cameras("hardware", 20, false)], 2).unwrap();
        assert_eq!(on_two.device_pixels, Some(20 * (1920 * 1080 * 25 + 1280 * 720 * 5 / 4) * 9 / 10 / 2));
        assert_eq!(Budgets::of(&[], &[cameras("software", 0, false)], 0), None);
    }

    #[test]
    fn nothing_is_written_that_the_service_would_refuse() {
        let folder = tempfile::tempdir().unwrap();
        let conf_d = folder.path().join("conf.d");
        fs::create_dir(&conf_d).unwrap();
        fs::write(folder.path().join("camshaft.yaml"), "limits: { hold: 1s }\nstreams: {}\n").unwrap();
        let path = conf_d.join("budgets.yaml");
        let budgets = Some(Budgets { software_pixels: Some(312_345_678), device_pixels: None });
        Fragment::prepare(&path).unwrap().write(budgets, "here").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("limits:\n  software_pixels: 312M\n"), "{text}");
        Fragment::prepare(&path).unwrap(); // its own may be written over

        fs::write(conf_d.join("more.yaml"), "limits: { device_pixels: 1G }\n").unwrap();
        let error = Fragment::prepare(&path).unwrap_err().chain();
        assert!(error.contains("more.yaml sets limits.device_pixels"), "{error}");
        fs::write(&path, "streams: {}\n").unwrap();
        let error = Fragment::prepare(&path).unwrap_err().chain();
        assert!(error.contains("budgets.yaml was not written by --calibrate"), "{error}");
        let error = Fragment::prepare(Path::new("/nowhere/budgets.yaml")).unwrap_err().chain();
        assert!(error.contains("/nowhere/budgets.yaml"), "{error}");
    }
}
