//! Command lines for the stand-in ffmpeg.

use camshaft_shim::camera::Reach;
use camshaft_shim::decision::{Decision, decide};

/// A decision is always the same, what is served can be asked for, and what falls back runs something. Words stand on lines
/// of their own.
pub fn shim(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for reach in [Reach::Pod, Reach::Network] {
        let again = matches!(decide(&words, reach), Decision::Serve(_));
        let Decision::Serve(plan) = decide(&words, reach) else {
            assert!(!again);
            continue;
        };
        assert!(again && !plan.software.is_empty());
        assert!(plan.raw.is_some() || plan.local.is_some(), "served, but nothing is");
        plan.camera.lease();
        if let Some(raw) = &plan.raw {
            raw.request();
            raw.bytes();
        }
        if let Some(local) = &plan.local {
            local.packets.request();
            assert!(!local.fed.is_empty() && !local.direct.is_empty());
        }
    }
}
