//! What it costs to shrink the luma of a 1080p picture, for each size that detectors and viewers mostly take.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

#[path = "../src/av/scaler/shrink.rs"]
mod shrink;

use shrink::{RATIOS, Source, Target};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;

fn scaler(criterion: &mut Criterion) {
    let plane: Vec<u8> = (0..WIDTH * HEIGHT).map(|index| (index * 37 % 251) as u8).collect();
    let mut group = criterion.benchmark_group("scaler");
    group.throughput(Throughput::Bytes(plane.len() as u64));
    for (many, few, kernel) in RATIOS {
        let (width, height) = (WIDTH / many * few, HEIGHT / many * few);
        let (mut made, mut sums) = (vec![0; width * height], vec![0; WIDTH]);
        group.bench_function(format!("{many}:{few}"), |bencher| {
            bencher.iter(|| {
                let target = Target { bytes: &mut made, stride: width, width, height };
                kernel(Source { bytes: black_box(&plane), stride: WIDTH }, target, &mut sums);
                black_box(&made);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scaler);
criterion_main!(benches);
