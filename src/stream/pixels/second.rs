//! A second opinion: what the CPU makes of packets that a device has decoded, or failed on.
//!
//! A failure counts against a device only if the same packets then decode cleanly on the CPU: a camera that sends rubbish
//! must not cost others their hardware. And pictures that look wrong are wrong only if the CPU's are different.

use std::sync::Arc;
use std::time::Instant;

use super::PixelsSetup;
use super::accel::Part;
use super::failure::{Failure, Reason};
use super::samples::Sample;
use crate::error::{Error, ErrorKind, Result};
use crate::link::{FromWorker, ToWorker};
use crate::media::Geometry;
use crate::plan::Backend;
use crate::stream::beside::{Piece, Question, ask};

/// Codecs define their pictures to the bit; this leaves room for one sample in a thousand.
const ALIKE: f64 = 45.0;

/// What the CPU made of some packets.
#[derive(Debug, Default)]
pub struct Decoded {
    samples: Vec<Sample>,
    broken: u64,
}

impl Decoded {
    /// Whether nothing was wrong with the packets.
    fn is_clean(&self) -> bool {
        self.broken == 0 && !self.samples.is_empty() && self.samples.iter().all(|sample| !sample.flawed)
    }

    /// What is wrong with packets that should have been pictures of `size`, for people.
    pub fn flaw(&self, size: Geometry) -> Option<String> {
        let flawed = self.samples.iter().filter(|sample| sample.flawed).count();
        let other = self.samples.iter().find(|sample| sample.size != size);
        match (self.broken, flawed, other) {
            (0, 0, None) if !self.samples.is_empty() => None,
            (0, 0, None) => Some("none is a picture".to_owned()),
            (0, 0, Some(other)) => Some(format!("one is a picture of {} in place of {size}", other.size)),
            (broken, flawed, _) => Some(format!("{broken} are broken and {flawed} give pictures with flaws")),
        }
    }
}

/// What comes of comparing pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// The device's pictures are right.
    Same {
        /// How alike the least alike were, in dB.
        psnr: f64,
    },
    /// They are not.
    Different {
        /// How alike the least alike were, in dB.
        psnr: f64,
    },
    /// There is no telling: the packets are damaged, or are gone, or the CPU had no time.
    Unclear,
}

/// Compares `samples` of a device, as far as they lie in the GOP of the last one, with what the CPU makes of it.
pub async fn compare(setup: Arc<PixelsSetup>, samples: Vec<Sample>) -> Comparison {
    let comparison = match samples.last() {
        Some(last) => match Piece::until(&setup.ring, Some(last.pts)) {
            Ok(piece) => judge(read(&setup, piece).await, &samples),
            Err(_) => Comparison::Unclear,
        },
        None => Comparison::Unclear,
    };
    let metrics = &setup.metrics;
    let (outcome, psnr) = match comparison {
        Comparison::Same { psnr } => ("same", Some(psnr)),
        Comparison::Different { psnr } => ("different", Some(psnr)),
        Comparison::Unclear => ("unclear", None),
    };
    metrics.count_by(&metrics.all.verifications, outcome, 1);
    if let Some(psnr) = psnr {
        metrics.all.verify_psnr.with_label_values(&[metrics.id()]).set(psnr);
    }
    comparison
}

fn judge(expected: Result<Decoded>, samples: &[Sample]) -> Comparison {
    let Ok(expected) = expected else { return Comparison::Unclear };
    if !expected.is_clean() {
        return Comparison::Unclear;
    }
    let twin = |sample: &Sample| expected.samples.iter().find(|other| other.pts == sample.pts);
    let alike = samples.iter().filter_map(|sample| twin(sample).map(|other| sample.psnr(other)));
    match alike.min_by(f64::total_cmp) {
        None => Comparison::Unclear,
        Some(psnr) if psnr >= ALIKE => Comparison::Same { psnr },
        Some(psnr) => Comparison::Different { psnr },
    }
}

/// Who is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Device,
    Source,
    Unclear,
}

impl Blame {
    fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Source => "source",
            Self::Unclear => "unclear",
        }
    }
}

/// Finds out who is to blame for the `failure` of a worker on `device` that was given `piece`, and charges the device if
/// that is it.
pub async fn blame(setup: Arc<PixelsSetup>, device: String, failure: Failure, piece: Option<Piece>) {
    let blame = match piece {
        _ if failure.reason.is_proved() => Blame::Device,
        None => Blame::Unclear,
        Some(piece) => {
            let size = piece.config.geometry;
            match read(&setup, piece).await {
                Ok(decoded) if !decoded.is_clean() => Blame::Source,
                Ok(decoded) if decoded.samples.iter().any(|sample| sample.size != size) => Blame::Source,
                Ok(_) => Blame::Device,
                Err(_) => Blame::Unclear,
            }
        }
    };
    let metrics = &setup.metrics;
    metrics.count_by(&metrics.all.blames, blame.name(), 1);
    let reason = failure.reason.name();
    tracing::info!(stream = metrics.id(), device, reason, blame = blame.name(), "who is to blame for a failure");
    if blame == Blame::Device {
        charge(&setup, &device, Part::All, failure.reason);
    }
}

/// Counts a failure against a part of `device`.
pub fn charge(setup: &PixelsSetup, device: &str, part: Part, reason: Reason) {
    setup.accel.charge(device, part, Instant::now());
    setup.context.devices.failed(device, setup.metrics.id(), reason.name());
}

/// Has the CPU decode `piece`.
pub async fn read(setup: &PixelsSetup, piece: Piece) -> Result<Decoded> {
    let permit = setup.context.beside.acquire().await;
    let _permit = permit.map_err(|_| Error::new(ErrorKind::Cancelled, "camshaft is stopping"))?;
    let (decode, sample_ticks) = (Backend::Software, Some(0));
    let question = Question { decode, sample_ticks, before: vec![], after: vec![ToWorker::Drain] };
    let mut decoded = Decoded::default();
    ask(&setup.context, setup.metrics.id(), piece, question, |message, data| match message {
        FromWorker::Sample { pts, size, flawed } => {
            decoded.samples.extend(Sample::new(pts, size, flawed, data));
            None
        }
        FromWorker::Consumed { broken, .. } => {
            decoded.broken = broken;
            None
        }
        FromWorker::Drained => Some(Ok(std::mem::take(&mut decoded))),
        _ => None,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaTime;
    use bytes::Bytes;

    fn sample(time: i64, points: &[u8]) -> Sample {
        Sample::new(MediaTime(time), Geometry::new(2, 2), false, Bytes::copy_from_slice(points)).unwrap()
    }

    fn clean(samples: Vec<Sample>) -> Result<Decoded> {
        Ok(Decoded { samples, broken: 0 })
    }

    #[test]
    fn pictures_of_the_same_time_are_compared_and_the_worst_one_counts() {
        let made = [sample(1, &[1, 2, 3, 4]), sample(2, &[5, 6, 7, 8]), sample(9, &[0; 4])];
        let same = judge(clean(made[..2].to_vec()), &made);
        assert_eq!(same, Comparison::Same { psnr: super::super::samples::SAME });
        let other = judge(clean(vec![sample(1, &[1, 2, 3, 4]), sample(2, &[90, 6, 7, 8])]), &made);
        assert!(matches!(other, Comparison::Different { psnr } if psnr < 20.0), "{other:?}");
        assert_eq!(judge(clean(vec![sample(5, &[1, 2, 3, 4])]), &made), Comparison::Unclear);
    }

    #[test]
    fn an_encode_is_whole_or_its_flaw_is_named() {
        let (size, picture) = (Geometry::new(2, 2), sample(1, &[1, 2, 3, 4]));
        let flaw = |samples: &[Sample], broken| Decoded { samples: samples.to_vec(), broken }.flaw(size);
        assert_eq!(flaw(std::slice::from_ref(&picture), 0), None);
        assert!(flaw(&[], 0).unwrap().contains("none"));
        assert!(flaw(std::slice::from_ref(&picture), 1).unwrap().contains("1 are broken"));
        let flawed = Sample { flawed: true, ..picture.clone() };
        assert!(flaw(&[picture.clone(), flawed], 0).unwrap().contains("1 give pictures with flaws"));
        let other = Sample { size: Geometry::new(4, 2), ..picture };
        assert!(flaw(&[other], 0).unwrap().contains("4x2"));
    }

    #[test]
    fn damaged_packets_prove_nothing() {
        let made = [sample(1, &[1, 2, 3, 4])];
        let flawed = Sample { flawed: true, ..sample(1, &[9; 4]) };
        assert_eq!(judge(clean(vec![flawed]), &made), Comparison::Unclear);
        let broken = Ok(Decoded { samples: vec![sample(1, &[9; 4])], broken: 1 });
        assert_eq!(judge(broken, &made), Comparison::Unclear);
        assert_eq!(judge(Err(Error::unavailable("it died")), &made), Comparison::Unclear);
    }
}
