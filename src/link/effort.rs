//! How much work a worker does: the steps of the overload ladder.

use serde::{Deserialize, Serialize};

/// How much work a decoder on the CPU does: the steps of the overload ladder, each with those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effort {
    /// All of it.
    #[default]
    Full,
    /// Pictures that no other refers to are not decoded.
    SkipNonReference,
    /// Raw and JPEG renditions are made at half their rate.
    HalveDetect,
    /// The H.264 loop filter is left out, which blurs block edges less and lets errors grow until the next keyframe.
    SkipLoopFilter,
    /// Keyframes alone are decoded.
    KeyframesOnly,
}

impl Effort {
    /// Every step, in order, with its name in status, metrics and events.
    pub const ALL: [(&'static str, Self); 5] = [
        ("full", Self::Full),
        ("skip_non_reference", Self::SkipNonReference),
        ("halve_detect", Self::HalveDetect),
        ("skip_loop_filter", Self::SkipLoopFilter),
        ("keyframes_only", Self::KeyframesOnly),
    ];

    /// The step's name.
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |(name, _)| name)
    }

    /// The step that leaves out more, if there is one.
    pub fn less(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).map(|(_, effort)| *effort)
    }

    /// The step that leaves out less, if there is one.
    pub fn more(self) -> Option<Self> {
        (self as usize).checked_sub(1).and_then(|at| Self::ALL.get(at)).map(|(_, effort)| *effort)
    }
}
