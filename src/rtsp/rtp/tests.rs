use super::*;
use crate::media::{WallClock, nal};
use proptest::prelude::*;
use rtp_types::RtpPacket;

/// The packets in `out`, their framing checked.
fn packets(out: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut rest = out;
    while let [b'$', 7, high, low, tail @ ..] = rest {
        let (packet, after) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        packets.push(packet.to_vec());
        rest = after;
    }
    assert!(rest.is_empty());
    packets
}

/// Sends one access unit; checks numbers, sizes and the marker, and gives the payloads with their timestamps.
fn send(sender: &mut Sender, time: i64, sets: &[Bytes], data: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut out = BytesMut::new();
    let first = sender.sequence();
    sender.send(MediaTime(time), sets, data, 7, &mut out).unwrap();
    let packets = packets(&out);
    let count = packets.len();
    let read = packets.iter().enumerate().map(|(index, packet)| {
        assert!(packet.len() <= PACKET_MAX);
        let packet = RtpPacket::parse(packet).unwrap();
        assert_eq!(packet.sequence_number(), first.wrapping_add(index as u16));
        let marks = index + 1 == count && !matches!(sender.format, Format::G711 { .. });
        assert_eq!(packet.marker_bit(), marks);
        (packet.timestamp().wrapping_sub(sender.base), packet.payload().to_vec())
    });
    read.collect()
}

#[test]
fn small_nal_units_travel_whole_and_large_ones_come_together_again() {
    let large: Vec<u8> = [0x65].into_iter().chain((0..5000).map(|n| n as u8)).collect();
    let access_unit = nal::length_prefixed([&[0x06, 1][..], &large]);
    let sets = [Bytes::from_static(&[0x67, 1]), Bytes::from_static(&[0x68, 2])];
    let mut sender = Sender::new(Format::H264, 96, 90_000);
    let payloads = send(&mut sender, 1234, &sets, &access_unit);
    assert!(payloads.iter().all(|(time, _)| *time == 1234));
    let whole: Vec<&[u8]> = payloads[..3].iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(whole, [&[0x67, 1][..], &[0x68, 2], &[0x06, 1]]);
    let parts = &payloads[3..];
    assert!(parts.iter().all(|(_, part)| part[0] == 0x7c && part[1] & 0x1f == 5));
    let bits: Vec<u8> = parts.iter().map(|(_, part)| part[1] & 0xe0).collect();
    assert_eq!(bits, [0x80, 0, 0, 0x40]);
    let body: Vec<u8> = parts.iter().flat_map(|(_, part)| part[2..].to_vec()).collect();
    assert_eq!(body, large[1..]);
}

#[test]
fn hevc_fragments_keep_layer_and_temporal_id() {
    let large: Vec<u8> = [0x26, 0x0b].into_iter().chain((0..4000).map(|n| n as u8)).collect();
    let mut sender = Sender::new(Format::H265, 96, 90_000);
    let payloads = send(&mut sender, 0, &[], &nal::length_prefixed([&large[..]]));
    assert!(payloads.iter().all(|(_, part)| part[..2] == [0x62, 0x0b] && part[2] & 0x3f == 19));
    let body: Vec<u8> = payloads.iter().flat_map(|(_, part)| part[3..].to_vec()).collect();
    assert_eq!(body, large[2..]);
}

#[test]
fn sound_counts_in_its_own_clock() {
    let mut aac = Sender::new(Format::Aac, 97, 48_000);
    let payloads = send(&mut aac, 90_000, &[], &[9; 3000]);
    assert_eq!(payloads.len(), 3);
    assert!(payloads.iter().all(|(time, part)| *time == 48_000 && part[..4] == [0, 16, 0x5d, 0xc0]));
    assert_eq!(payloads.iter().map(|(_, part)| part.len() - 4).sum::<usize>(), 3000);
    let mut stereo = Sender::new(Format::G711 { channels: 2 }, 98, 16_000);
    let times: Vec<u32> = send(&mut stereo, 0, &[], &[1; 3000]).iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [0, 694, 1388]);
}

/// A JPEG of 24x16 with two tables, of which chroma's is all `2`.
fn jpeg(luma_sampling: u8) -> Vec<u8> {
    let table = |id: u8| [&[0xff, 0xdb, 0, 67, id][..], &[id + 1; 64]].concat();
    let frame = [0xff, 0xc0, 0, 17, 8, 0, 16, 0, 24, 3, 1, luma_sampling, 0, 2, 0x11, 1, 3, 0x11, 1];
    let scan = [&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0][..], &[7; 3000], &[0xff, 0xd9]].concat();
    [&[0xff, 0xd8][..], &table(0), &table(1), &frame, &scan].concat()
}

#[test]
fn a_jpeg_is_its_tables_and_its_scan() {
    let mut sender = Sender::new(Format::Jpeg, 26, 90_000);
    let payloads = send(&mut sender, 0, &[], &jpeg(0x22));
    let (_, first) = &payloads[0];
    assert_eq!(first[..8], [0, 0, 0, 0, 1, 255, 3, 2]);
    assert_eq!(first[8..12], [0, 0, 0, 128]);
    assert_eq!(first[12..140], [[1; 64], [2; 64]].concat());
    let mut scan = first[140..].to_vec();
    for (_, part) in &payloads[1..] {
        assert_eq!(usize::from(part[2]) << 8 | usize::from(part[3]), scan.len());
        scan.extend(&part[8..]);
    }
    assert_eq!(scan, [7; 3000]);
    assert!(sender.send(MediaTime(0), &[], &jpeg(0x11), 7, &mut BytesMut::new()).is_err(), "4:4:4");
}

#[test]
fn reports_tie_the_clock_to_the_time_of_day() {
    let sender = Sender::new(Format::H264, 96, 90_000);
    let mut map = WallClockMap::default();
    let mut out = BytesMut::new();
    sender.report(&map, WallClock(5_000_000), 7, &mut out).unwrap();
    assert!(out.is_empty(), "nothing is known yet");
    // The second packet was delayed by 30 ms.
    map.note(MediaTime(0), WallClock(1_000_000));
    map.note(MediaTime(9000), WallClock(1_130_000));
    map.settle();
    sender.report(&map, WallClock(2_500_000), 7, &mut out).unwrap();
    let packet = packets(&out).remove(0);
    assert!(is_rtcp(&packet));
    let rtcp_types::Packet::Sr(report) = rtcp_types::Compound::parse(&packet).unwrap().next().unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(report.ntp_timestamp(), (2_208_988_802 << 32) | (1 << 31));
    assert_eq!(report.rtp_timestamp(), sender.base.wrapping_add(135_000));
}

proptest! {
    #[test]
    fn hostile_media_never_panics(data in proptest::collection::vec(any::<u8>(), 0..6000), time: i64, which in 0..5usize) {
        let formats = [Format::H264, Format::H265, Format::Jpeg, Format::Aac, Format::G711 { channels: 0 }];
        let mut sender = Sender::new(formats[which], 96, 44_100);
        let mut out = BytesMut::new();
        let _ = sender.send(MediaTime(time), &[], &data, 7, &mut out);
        let _ = sender.send(MediaTime(time), &[], &[&[0xff, 0xd8, 0xff][..], &data].concat(), 7, &mut out);
        prop_assert!(packets(&out).iter().all(|packet| packet.len() <= PACKET_MAX));
        is_rtcp(&data);
    }
}
