//! The link between supervisor and workers: messages over a real socket pair.

use camshaft::link::{FromWorker, wire};
use camshaft::media::{FrameHeader, Geometry, MediaTime, WallClock};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::os::unix::net::UnixStream;

/// A writer thread sends what `message` says, `count` times a request; the bencher reads them.
fn exchange(criterion: &mut Criterion, name: &str, payload: usize, count: u64) {
    let (mut reader, mut writer) = UnixStream::pair().expect("a socket pair");
    let mut requests = writer.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let size = Geometry::new(1280, 720);
        let header = FrameHeader { pts: MediaTime(0), wall: WallClock(0), size };
        let payload = vec![0; payload];
        while let Ok(Some((FromWorker::Ready, _))) = wire::receive(&mut requests) {
            for _ in 0..count {
                wire::send(&mut writer, &FromWorker::Frame { id: 0, header }, &payload).expect("the reader reads");
            }
        }
    });
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Elements(count));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            wire::send(&mut reader, &FromWorker::Ready, &[]).expect("the sender lives");
            for _ in 0..count {
                assert!(wire::receive::<FromWorker>(&mut reader).expect("a message").is_some());
            }
        });
    });
    group.finish();
    drop(reader);
    sender.join().expect("the sender ends");
}

fn link(criterion: &mut Criterion) {
    exchange(criterion, "packets of 20 kB", 20_000, 100);
    exchange(criterion, "720p I420 pictures", 1_382_400, 10);
}

criterion_group!(benches, link);
criterion_main!(benches);
