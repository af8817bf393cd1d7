//! A service with streams that are all being read, and what must hold of it whatever fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::machine::{Machine, Noise};
use super::reader::{SIZE, Seen, Sightings, longest_wait};
use super::{Hurt, Row, figures};
use crate::support::{Camshaft, children, eventually};

/// Pictures a second of every stream.
const RATE: f64 = 25.0;
/// How much of others' pictures may be missing, beside the picture's own duration.
const GAP: f64 = 0.2;
/// Where others use the machine as well it takes moments on its own account: so much may be missing once in 100 pictures.
const GAP_UNDER_NOISE: f64 = 0.6;
/// Cameras replay a clip of so many pictures, so that numbers start again; no gap is as long.
const NUMBERS: u32 = 1500;
/// How much more memory the service may take after a fault.
const GROWTH: u64 = 64 << 20;

/// A service whose streams are all read, raw and as copies.
pub struct Bench {
    /// The service.
    pub server: Camshaft,
    streams: BTreeMap<&'static str, Watched>,
    baseline: Footprint,
}

struct Watched {
    pictures: Sightings,
    copy: Sightings,
}

/// What the service and its workers take of the machine.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    memory: u64,
    descriptors: usize,
    processes: usize,
}

impl Bench {
    /// Starts to read `names` of `server`, and takes the baseline when all run.
    pub fn watch(server: Camshaft, names: &[&'static str]) -> Self {
        assert!(names.len() >= 4, "a fault must have bystanders");
        let start = |name: &&'static str| {
            server.wait_live(name);
            let pictures = format!("/v1/streams/{name}/live.frames?format=gray&width={}&height={}", SIZE.0, SIZE.1);
            let pictures = Sightings::of_pictures(server.open(&pictures));
            let copy = Sightings::of_packets(server.open(&format!("/v1/streams/{name}/live.ts")));
            (*name, Watched { pictures, copy })
        };
        let streams = names.iter().map(start).collect();
        let baseline = Footprint::of(server.pid());
        let mut bench = Self { server, streams, baseline };
        names.iter().for_each(|name| bench.wait_pictures(name, 50));
        bench.baseline = Footprint::of(bench.server.pid());
        bench
    }

    /// Runs the rows one after the other, and notes their figures.
    pub fn run<T>(&self, target: &T, rows: &[Row<T>]) {
        for row in rows {
            eprintln!("row: {}", row.fault);
            let (marks, accidents) = (self.marks(), self.accidents(row.hurt));
            let machine = Machine::watch(self.server.pid());
            let skipped = self.skipped(row.hurt);
            let start = (row.inject)(target, self);
            self.streams.keys().for_each(|name| self.wait_pictures(name, 15));
            let noise = machine.noise();
            let waits = self.check_since(&marks, row.hurt, start, noise);
            self.check_accounts(&marks, row.hurt, skipped);
            assert_eq!(self.accidents(row.hurt), accidents, "{}: others' workers or cameras went", row.fault);
            assert!(waits <= row.bound, "{}: pictures were away for {waits:?}", row.fault);
            self.check_footprint(row.fault);
            figures::note(row.fault, waits);
        }
    }

    /// Waits for `count` pictures of `name` from now on that follow each other.
    pub fn wait_pictures(&self, name: &str, count: usize) {
        let pictures = &self.streams[name].pictures;
        let from = pictures.len() + 1;
        let whole = || {
            let seen = pictures.since(from);
            let good = seen.windows(2).filter(|pair| step(pair).is_some_and(|step| (1..=3).contains(&step))).count();
            (good >= count).then_some(())
        };
        eventually(&format!("{name} shows {count} pictures"), || self.server.log().pause(), whole);
    }

    /// A stream's series of a counter of the service, 0 if it is not there yet.
    pub fn counted(&self, series: &str) -> f64 {
        self.server.metric(series).unwrap_or(0.0)
    }

    /// Deaths of workers and losses of cameras so far, of the streams that must not notice.
    fn accidents(&self, hurt: Hurt) -> Vec<(&'static str, String)> {
        let spared = self.streams.keys().filter(|name| hurt.spares_pictures_of(name));
        let count = |name: &&'static str| {
            let status = self.server.status(name);
            let workers = &status["workers"];
            let deaths = [&workers["pixels"]["restarts"], &workers["ingest"]["restarts"]];
            (*name, format!("{deaths:?}, {}", status["source"]["reconnects"]))
        };
        spared.map(count).collect()
    }

    fn marks(&self) -> BTreeMap<&'static str, (usize, usize)> {
        let mark = |(name, watched): (&&'static str, &Watched)| (*name, (watched.pictures.len(), watched.copy.len()));
        self.streams.iter().map(mark).collect()
    }

    /// Who is spared has missed nothing; gives how long the hurt were without pictures.
    fn check_since(
        &self,
        marks: &BTreeMap<&'static str, (usize, usize)>,
        hurt: Hurt,
        start: Instant,
        noise: Noise,
    ) -> Duration {
        let mut waits = Duration::ZERO;
        for (name, watched) in &self.streams {
            let pictures = watched.pictures.since(marks[name].0);
            if hurt.spares_pictures_of(name) {
                assert_spared(name, &pictures, noise);
            } else {
                waits = waits.max(longest_wait(&pictures, start));
                assert_one_timeline(name, &pictures);
            }
            let packets = watched.copy.since(marks[name].1);
            if hurt.spares_copies_of(name) {
                assert_whole(name, &packets);
            }
        }
        waits
    }

    /// Packets that the hurt stream's decoder has skipped so far, having fallen behind.
    fn skipped(&self, hurt: Hurt) -> u64 {
        let Hurt::Pictures(name) = hurt else { return 0 };
        self.counted(&format!("camshaft_consumer_dropped_total{{kind=\"decoder\",stream=\"{name}\"}}")) as u64
    }

    /// Where the source is well, what a reader of the hurt stream's pictures lacks was counted as well: received =
    /// delivered + dropped + `skipped` by the decoder. The pictures are 1/[`RATE`] apart, so that their times tell how many
    /// there were; what they show may be wrong.
    fn check_accounts(&self, marks: &BTreeMap<&'static str, (usize, usize)>, hurt: Hurt, skipped: u64) {
        let Hurt::Pictures(name) = hurt else { return };
        let pictures = self.streams[name].pictures.since(marks[name].0);
        let received = |pair: &[Seen]| ((pair[1].pts - pair[0].pts) * RATE).round() as u64;
        let uncounted = |pair: &[Seen]| received(pair).checked_sub(1 + pair[1].dropped);
        let uncounted: Option<u64> = pictures.windows(2).map(uncounted).sum();
        let skipped = self.skipped(hurt) - skipped;
        // Packets that were decoded before the fault may be skipped in the replay, too.
        let is_exact = uncounted.is_some_and(|uncounted| uncounted == 0 || uncounted <= skipped);
        assert!(is_exact, "{name}: {uncounted:?} pictures went uncounted, {skipped} packets were skipped");
        eprintln!("{name}: {} pictures, {uncounted:?} left out by the decoder", pictures.len());
    }

    /// Memory, descriptors and processes come back to what they were.
    pub fn check_footprint(&self, fault: &str) {
        let before = self.baseline;
        let small = || {
            let now = Footprint::of(self.server.pid());
            let is_small = now.memory <= before.memory + GROWTH
                && now.descriptors <= before.descriptors
                && now.processes <= before.processes;
            is_small.then_some(())
        };
        let what = format!("the service is back at {before:?} after '{fault}'");
        eventually(&what, || self.server.log().pause(), small);
    }
}

impl Footprint {
    fn of(pid: u32) -> Self {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let workers = children(pid);
        let memory = workers.iter().map(|(worker, _)| memory(*worker)).sum::<u64>() + memory(pid);
        Self { memory, descriptors, processes: workers.len() }
    }
}

/// How many pictures further the second is, if both show their number.
fn step(pair: &[Seen]) -> Option<u32> {
    Some((pair[1].number? + NUMBERS - pair[0].number? % NUMBERS) % NUMBERS)
}

/// A process's memory in bytes, its share of what several use; without the right to know that, all that it uses.
fn memory(pid: u32) -> u64 {
    let shared = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kilobytes = shared.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
    let resident = || camshaft::link::usage(pid).map_or(0, |usage| usage.rss_bytes);
    kilobytes.map_or_else(resident, |kilobytes: u64| kilobytes << 10)
}

/// No gap, and what is missing was counted: received = delivered + dropped.
fn assert_spared(name: &str, seen: &[Seen], noise: Noise) {
    let mut long = 0;
    for pair in seen.windows(2) {
        let gap = pair[1].pts - pair[0].pts - 1.0 / RATE;
        let longest = if noise == Noise::Loud { GAP_UNDER_NOISE } else { GAP };
        assert!(gap > -1.0 / RATE && gap <= longest + 0.001, "{name}: {gap:.3} s between {pair:?}, noise: {noise:?}");
        long += usize::from(gap > GAP + 0.001);
        let step = step(pair).unwrap_or_else(|| panic!("{name}: no number in {pair:?}"));
        assert_eq!(u64::from(step), 1 + pair[1].dropped, "{name}: pictures went uncounted: {pair:?}");
    }
    assert!(long <= 1 + seen.len() / 100, "{name}: {long} gaps of more than {GAP} s in {} pictures", seen.len());
}

/// Every packet came.
fn assert_whole(name: &str, seen: &[Seen]) {
    for pair in seen.windows(2) {
        let step = (pair[1].pts - pair[0].pts) * RATE;
        assert!((0.5..1.5).contains(&step), "{name}: a copy went from {} to {} s", pair[0].pts, pair[1].pts);
    }
}

/// No picture comes twice or goes back.
fn assert_one_timeline(name: &str, seen: &[Seen]) {
    let back = seen.windows(2).find(|pair| pair[1].pts <= pair[0].pts);
    assert!(back.is_none(), "{name}: {back:?}");
}
