//! A window as a media playlist. No crate at hand writes the tags of low latency.

use std::fmt::{self, Write};

use super::window::{Part, Resource, Segment, Window};
use crate::media::MediaTime;

/// The parts of this many whole segments are listed; older ones help nobody who is near the edge.
const SEGMENTS_IN_PARTS: usize = 2;

/// `window` as a media playlist (RFC 8216bis §4.4) whose URIs start with `base`; `None` until it has a whole segment.
pub fn playlist(window: &Window, base: &str) -> Option<String> {
    let first = window.listed().next()?;
    let (target, part_target) = (window.target_seconds?, MediaTime(window.part_target?).seconds());
    let mut text = String::with_capacity(4096);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "#EXTM3U\n\
         #EXT-X-VERSION:9\n\
         #EXT-X-TARGETDURATION:{target}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.3}\n\
         #EXT-X-PART-INF:PART-TARGET={part_target:.3}\n\
         #EXT-X-MEDIA-SEQUENCE:{}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{}",
        // A little above the three targets that it must have at least, so that rounding cannot take it below.
        part_target * 3.0 + 0.01,
        first.sequence,
        first.discontinuities,
    );
    let _ = write_segments(&mut text, window, base);
    Some(text)
}

fn write_segments(text: &mut String, window: &Window, base: &str) -> fmt::Result {
    let in_parts_from = window.open.sequence.saturating_sub(SEGMENTS_IN_PARTS as u64);
    let mut before: Option<&Segment> = None;
    for segment in window.listed().chain([&window.open]) {
        write_head(text, segment, before, base)?;
        if segment.sequence >= in_parts_from {
            for (index, part) in segment.parts.iter().enumerate() {
                write_part(text, Resource::Part(segment.sequence, index), part, base)?;
            }
        }
        if segment.sequence < window.open.sequence {
            let name = Resource::Segment(segment.sequence).file_name();
            writeln!(text, "#EXTINF:{:.5},\n{base}{name}", MediaTime(segment.ticks()).seconds())?;
        }
        before = Some(segment);
    }
    let (sequence, index) = window.edge();
    let hint = Resource::Part(sequence, index).file_name();
    writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{base}{hint}\"")
}

fn write_head(text: &mut String, segment: &Segment, before: Option<&Segment>, base: &str) -> fmt::Result {
    if before.is_some_and(|before| before.discontinuities != segment.discontinuities) {
        writeln!(text, "#EXT-X-DISCONTINUITY")?;
    }
    if before.is_none_or(|before| before.map.number != segment.map.number) {
        writeln!(text, "#EXT-X-MAP:URI=\"{base}{}\"", Resource::Map(segment.map.number).file_name())?;
    }
    writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", segment.wall)
}

fn write_part(text: &mut String, resource: Resource, part: &Part, base: &str) -> fmt::Result {
    let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
    let (seconds, name) = (MediaTime(part.ticks).seconds(), resource.file_name());
    writeln!(text, "#EXT-X-PART:DURATION={seconds:.5},URI=\"{base}{name}\"{independent}")
}
