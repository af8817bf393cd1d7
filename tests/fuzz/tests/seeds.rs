//! The corpus of the link, which nothing else than the link can write. After a change of its messages:
//! `cargo test --workspace --test seeds -- --ignored`.

use bytes::Bytes;
use camshaft::link::wire::send;
use camshaft::link::{Effort, FailureKind, FromWorker, Role, SoundTask, ToWorker};
use camshaft::media::{
    AudioCodec, AudioConfig, FrameRate, Geometry, MediaTime, PacketHeader, SoundCoding, SoundSpec, Track, VideoCodec,
    VideoConfig, WallClock,
};
use camshaft::sandbox::Confinement;
use serde::Serialize;
use std::path::Path;

fn video() -> VideoConfig {
    VideoConfig {
        generation: 3,
        codec: VideoCodec::H264,
        parameter_sets: vec![Bytes::from_static(b"\x67\x4d\x40\x0c"), Bytes::from_static(b"\x68\xef\xbc\x80")],
        profile: "main".into(),
        rfc6381: "avc1.4D400C".into(),
        geometry: Geometry::new(320, 180),
        frame_rate: Some(FrameRate { num: 25, den: 1 }),
        bit_depth: 8,
        reorder_depth: 2,
    }
}

fn header() -> PacketHeader {
    PacketHeader { track: Track::Video, pts: MediaTime(7200), dts: MediaTime(3600), keyframe: true, wall: WallClock(5) }
}

fn save<M: Serialize>(name: &str, messages: &[(M, &[u8])]) {
    let mut bytes = Vec::new();
    for (message, payload) in messages {
        send(&mut bytes, message, payload).unwrap();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/link");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), &bytes).unwrap();
    // Without its header as well, which the target then makes.
    std::fs::write(folder.join(format!("{name}-bare")), &bytes[16..]).unwrap();
}

#[test]
#[ignore = "writes into fuzz/corpus"]
fn the_links_corpus_is_made() {
    let audio = AudioConfig {
        codec: AudioCodec::Aac,
        sample_rate: 48_000,
        channels: 2,
        specific: Bytes::from_static(b"\x11\x90"),
        rfc6381: "mp4a.40.2".into(),
    };
    let failed = FromWorker::Failed { kind: FailureKind::Limit, message: "an access unit is past the limit".into() };
    save(
        "camera",
        &[
            (FromWorker::Ready, b""),
            (FromWorker::VideoConfig(video()), b""),
            (FromWorker::AudioConfig(audio.clone()), b""),
            (FromWorker::Packet(header()), b"\0\0\0\x04\x65abc"),
            (FromWorker::Lost { packets: 3 }, b""),
            (FromWorker::Drained, b""),
        ],
    );
    save("failed", &[(failed, b"")]);
    save("config", &[(FromWorker::VideoConfig(video()), b"")]);
    save("confine", &[(ToWorker::Confine(Confinement::default()), b"")]);
    let spec = SoundSpec { coding: SoundCoding::Aac, sample_rate: 48_000, channels: 2 };
    save("sound", &[(ToWorker::Begin(Role::Sound(SoundTask { config: audio.clone(), spec })), b"")]);
    save(
        "packets",
        &[
            (ToWorker::Packet(header()), b"\0\0\0\x04\x65abc"),
            (ToWorker::Effort(Effort::default()), b""),
            (ToWorker::InputSize(1 << 40), b""),
            (ToWorker::Drain, b""),
            (ToWorker::Stop, b""),
        ],
    );
}
