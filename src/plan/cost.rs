//! What a way to do a job costs, in pixels per second of the plainest work: decoding H.264.
//!
//! The weights are ratios of CPU time per pixel on one core (x86-64, AVX2, one thread a codec): decoding 1080p25 H.264 at
//! 4 Mbit/s takes 734 million instructions a second; HEVC 1.45 times that; a scaler, per pixel that it puts out, about as
//! much as decoding it; an H.264 encoder at the settings used here three times, JPEG one and a half, HEVC fifteen. A
//! GPU's scaler is nearly free beside its decoder, and its encoders reach about half the decoder's rate. A camera at
//! twice the bit rate costs up to 1.6 times as much: budgets leave room for that.

use std::collections::BTreeMap;

use super::{Backend, Codec};

/// A piece of work on pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Packets to pictures.
    Decode(Codec),
    /// Cropping and scaling, by the pixels that come out.
    Scale,
    /// Pictures to packets.
    Encode(Codec),
}

impl Work {
    /// How much a pixel costs on `backend`, in hundredths of a decoded H.264 pixel there.
    fn weight(self, backend: &Backend) -> u64 {
        match (backend, self) {
            (Backend::Software, Self::Decode(Codec::Hevc)) => 145,
            (Backend::Software, Self::Encode(Codec::Hevc)) => 1500,
            (Backend::Software, Self::Encode(Codec::Mjpeg)) => 150,
            (Backend::Software, Self::Encode(_)) => 300,
            (Backend::Vaapi { .. }, Self::Encode(_)) => 200,
            (Backend::Vaapi { .. }, Self::Scale) => 25,
            (_, Self::Decode(_)) | (Backend::Software, Self::Scale) => 100,
        }
    }
}

/// Pixels per second on each backend. Zero costs are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost(BTreeMap<Resource, u64>);

/// What a cost is paid from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The CPUs.
    Software,
    /// The render node of this path.
    Device(String),
}

impl Resource {
    /// `software`, or the render node's path: its name in metrics and messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Software => "software",
            Self::Device(path) => path,
        }
    }
}

impl From<&Backend> for Resource {
    fn from(backend: &Backend) -> Self {
        match backend {
            Backend::Software => Self::Software,
            Backend::Vaapi { device } => Self::Device(device.clone()),
        }
    }
}

impl Cost {
    /// Adds `work` on `pixels_per_s` at `backend`.
    pub fn add(&mut self, backend: &Backend, work: Work, pixels_per_s: u64) {
        let cost = pixels_per_s.saturating_mul(work.weight(backend)) / 100;
        if cost > 0 {
            let sum = self.0.entry(backend.into()).or_default();
            *sum = sum.saturating_add(cost);
        }
    }

    /// What it takes of `resource`.
    pub fn of(&self, resource: &Resource) -> u64 {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// Every resource that it takes of, and how much.
    pub fn each(&self) -> impl Iterator<Item = (&Resource, u64)> {
        self.0.iter().map(|(resource, pixels)| (resource, *pixels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL_HD_25: u64 = 1920 * 1080 * 25;

    #[test]
    fn stages_are_weighed_where_they_run() {
        let gpu = Backend::Vaapi { device: "/dev/dri/renderD128".into() };
        let mut cost = Cost::default();
        cost.add(&gpu, Work::Decode(Codec::H264), FULL_HD_25);
        cost.add(&gpu, Work::Scale, 640 * 360 * 25);
        cost.add(&Backend::Software, Work::Encode(Codec::H264), 640 * 360 * 25);
        assert_eq!(cost.of(&Resource::from(&gpu)), FULL_HD_25 + 640 * 360 * 25 / 4);
        assert_eq!(cost.of(&Resource::Software), 640 * 360 * 25 * 3);
        assert_eq!(cost.of(&Resource::Device("/dev/dri/renderD129".into())), 0);
    }

    #[test]
    fn hevc_costs_more_and_nothing_costs_nothing() {
        let decode = |codec| {
            let mut cost = Cost::default();
            cost.add(&Backend::Software, Work::Decode(codec), FULL_HD_25);
            cost.of(&Resource::Software)
        };
        assert_eq!((decode(Codec::H264), decode(Codec::Hevc)), (FULL_HD_25, FULL_HD_25 * 145 / 100));
        let mut nothing = Cost::default();
        nothing.add(&Backend::Software, Work::Scale, 0);
        assert_eq!(nothing, Cost::default());
        nothing.add(&Backend::Software, Work::Encode(Codec::Hevc), u64::MAX);
        nothing.add(&Backend::Software, Work::Scale, u64::MAX);
        assert!(nothing.of(&Resource::Software) >= u64::MAX / 100, "sums saturate");
    }
}
