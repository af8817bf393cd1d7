//! The role as the supervisor sees it: packets in, packets and receipts out.

use std::os::unix::net::UnixStream;

use super::*;
use bytes::Bytes;
use camshaft::link::wire;
use camshaft::media::AudioConfig;

/// A packet of G.711 lasts 20 ms.
const TICKS: i64 = MediaTime::HZ / 50;
const WALL: WallClock = WallClock(7);

fn mulaw() -> AudioConfig {
    let rfc6381 = String::new();
    AudioConfig { codec: AudioCodec::PcmMulaw, sample_rate: 8000, channels: 1, specific: Bytes::new(), rfc6381 }
}

/// A square wave of 200 Hz, as loud as can be, so many packets in.
fn square(packet: i64) -> Vec<u8> {
    (packet * 160..(packet + 1) * 160).map(|sample| if sample / 20 % 2 == 0 { 0x80 } else { 0x00 }).collect()
}

/// What comes of sending `packets` to a worker with this task, and how it ends.
fn make(
    config: AudioConfig,
    spec: SoundSpec,
    packets: &[(i64, Vec<u8>)],
) -> (Vec<(FromWorker, Bytes)>, Result<(), End>) {
    let (mut link, mut supervisor) = Link::pair().unwrap();
    let worker = std::thread::spawn(move || run(&SoundTask { config, spec }, &mut link));
    let mut reader = std::io::BufReader::new(supervisor.try_clone().unwrap());
    let listener = std::thread::spawn(move || {
        std::iter::from_fn(|| wire::receive::<FromWorker>(&mut reader).ok().flatten()).collect::<Vec<_>>()
    });
    for (time, data) in packets {
        let pts = MediaTime(*time);
        let header = PacketHeader { track: Track::Audio, pts, dts: pts, keyframe: true, wall: WALL };
        // A worker that refused its task reads nothing.
        let _ = wire::send(&mut supervisor, &ToWorker::Packet(header), data);
    }
    let _ = wire::send(&mut supervisor, &ToWorker::Stop, &[]);
    let ended = worker.join().unwrap();
    drop::<UnixStream>(supervisor);
    (listener.join().unwrap(), ended)
}

fn packets(said: &[(FromWorker, Bytes)]) -> Vec<(i64, &Bytes)> {
    let packet = |(message, data)| match message {
        &FromWorker::Packet(PacketHeader { track: Track::Audio, pts, wall: WALL, .. }) => Some((pts.0, data)),
        _ => None,
    };
    said.iter().map(|(message, data)| (message, data)).filter_map(packet).collect()
}

fn consumed(said: &[(FromWorker, Bytes)]) -> Vec<(u64, u64)> {
    let consumed = |message: &FromWorker| match message {
        FromWorker::Consumed { decoded, broken } => Some((*decoded, *broken)),
        _ => None,
    };
    said.iter().filter_map(|(message, _)| consumed(message)).collect()
}

#[test]
fn samples_come_in_blocks_of_twenty_milliseconds_on_a_grid() {
    let sent: Vec<_> = (0..50).map(|packet| (packet * TICKS, square(packet))).collect();
    let (said, ended) = make(mulaw(), SoundSpec::pcm(16_000, 1), &sent);
    assert!(ended.is_ok() && matches!(said[0].0, FromWorker::Ready), "{ended:?}");
    assert_eq!(consumed(&said).last(), Some(&(50, 0)), "a receipt for each");
    let made = packets(&said);
    assert!(made.len() >= 48, "{}", made.len());
    assert!(made.iter().all(|(_, data)| data.len() == 640), "320 samples of 16 bits");
    assert!(made.windows(2).all(|pair| pair[1].0 - pair[0].0 == TICKS) && made[0].0 % TICKS == 0);
    let samples: Vec<i16> = made[10].1.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let crossings = samples.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    assert!((7..=9).contains(&crossings), "200 Hz cross zero 8 times in 20 ms, this {crossings}");
    assert!(samples.iter().any(|sample| *sample > 20_000), "as loud as before");
}

#[test]
fn aac_is_made_and_a_successor_goes_on_with_its_frames() {
    let sent: Vec<_> = (0..100).map(|packet| (packet * TICKS, square(packet))).collect();
    let spec = SoundSpec::aac(&mulaw());
    let times = |from: usize| {
        let (said, ended) = make(mulaw(), spec, &sent[from..]);
        assert!(ended.is_ok(), "{ended:?}");
        packets(&said).iter().map(|(time, _)| *time).collect::<Vec<_>>()
    };
    let (first, second) = (times(0), times(33));
    assert!(first.len() > 25 && first.windows(2).all(|pair| pair[1] - pair[0] == 1024 * 90_000 / 16_000), "{first:?}");
    assert!(second.len() > 15 && second.iter().skip(1).all(|time| first.contains(time)), "{first:?} and {second:?}");
}

#[test]
fn damage_is_counted_and_costs_nothing_else() {
    let aac = AudioConfig {
        codec: AudioCodec::Aac,
        sample_rate: 16_000,
        specific: Bytes::from_static(&[0x14, 0x08]),
        rfc6381: "mp4a.40.2".to_owned(),
        ..mulaw()
    };
    let garbage: Vec<_> = (0..20).map(|packet| (packet * 5760, vec![0xa5; 90])).collect();
    let (said, ended) = make(aac, SoundSpec::pcm(16_000, 1), &garbage);
    assert!(ended.is_ok(), "{ended:?}");
    let last = consumed(&said).last().copied();
    assert!(consumed(&said).len() == 20 && last.is_some_and(|(_, broken)| broken > 0), "{last:?}");
}

#[test]
fn what_is_not_possible_is_refused() {
    let (_, ended) = make(mulaw(), SoundSpec::pcm(1_000_000, 1), &[]);
    assert!(matches!(ended, Err(End::Failed { kind: FailureKind::Limit, .. })), "{ended:?}");
    let (mut link, mut supervisor) = Link::pair().unwrap();
    wire::send(&mut supervisor, &ToWorker::Drain, &[]).unwrap();
    let task = SoundTask { config: mulaw(), spec: SoundSpec::pcm(16_000, 1) };
    assert!(matches!(run(&task, &mut link), Err(End::LinkBroken(_))));
}
