//! What a live URL asks for, read as a whole before anything starts.

use super::container::{Container, PictureContainer};
use crate::error::Result;
use crate::media::query::RenditionParams;
use crate::media::{AudioRequest, OutputRequest, RenditionRequest};
use crate::query::{Media, MediaParams, Query};
use crate::shm::SLOTS_MAX;
use crate::stream::SoundRequest;

/// A live response, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRequest {
    /// Its form.
    pub container: Container,
    /// What fills it.
    pub media: Media,
    /// The sound beside it; `None` where the form has no place for any.
    pub sound: Option<SoundRequest>,
    /// What a playlist must have reached before it is sent.
    pub awaited: Option<Awaited>,
    /// How many pictures a reader of shared memory may hold.
    pub slots: Option<u32>,
}

/// What a playlist must have reached before it is sent: a whole segment, or a part of it (RFC 8216bis §6.2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The segment's media sequence number (`_HLS_msn`).
    pub segment: u64,
    /// The part's index (`_HLS_part`).
    pub part: Option<usize>,
}

/// The form that a camera may send pictures in.
const JPEGS: Container = Container::Pictures(PictureContainer::Mjpeg);

/// RFC 8216bis §6.2.5: a player's own parameters.
const SEGMENT: &str = "_HLS_msn";
const PART: &str = "_HLS_part";

/// The reader's own parameter in shared memory.
const SLOTS: &str = "slots";

impl LiveRequest {
    /// Reads the URL's extension and query.
    ///
    /// # Errors
    /// An unknown extension; every parameter that is unknown, malformed, or does not fit the form or another parameter.
    pub fn parse(extension: &str, query: Option<&str>) -> Result<Self> {
        let container = Container::from_extension(extension)?;
        let names: Vec<&str> = MediaParams::names().into_iter().chain([SEGMENT, PART, SLOTS]).collect();
        let mut query = Query::read(query, &names)?;
        let awaited = take_awaited(&mut query, container);
        let slots = take_slots(&mut query, container);
        let asked = MediaParams::take(&mut query);
        let audio = asked.audio;
        let make = |query: &mut Query, params: &RenditionParams| rendition(query, container, params);
        let media = match container {
            Container::Packets(_) | Container::Hls => asked.copy_or_rendition(&mut query, make),
            JPEGS => asked.copy_if_said_or_rendition(&mut query, make),
            Container::Pictures(_) => asked.rendition(&mut query, make),
        };
        let sound = sound(&mut query, container, audio);
        query.finish(media.map(|media| Self { container, media, sound, awaited, slots }))
    }
}

fn rendition(query: &mut Query, container: Container, params: &RenditionParams) -> Option<RenditionRequest> {
    let request = query.settle(params.request(container.output_kind()))?;
    if let Err(problem) = container.check(&request.output) {
        let key = if matches!(request.output, OutputRequest::Encode { .. }) { "codec" } else { "format" };
        query.refuse(key, problem);
    }
    Some(request)
}

fn sound(query: &mut Query, container: Container, audio: Option<AudioRequest>) -> Option<SoundRequest> {
    let carrier = container.carrier();
    if audio.is_some() && carrier.is_none() {
        query.refuse("audio", format!("has no place in live.{}: remove it", container.extension()));
    }
    carrier.map(|carrier| SoundRequest { audio: audio.unwrap_or_default(), carrier })
}

fn take_awaited(query: &mut Query, container: Container) -> Option<Awaited> {
    let segment = query.take(SEGMENT, parse_number);
    let part = query.take(PART, parse_number);
    for (key, value) in [(SEGMENT, segment), (PART, part)] {
        if value.is_some() && container != Container::Hls {
            query.refuse(key, format!("has no place in live.{}: remove it", container.extension()));
        }
    }
    if part.is_some() && segment.is_none() {
        query.refuse(PART, format!("needs {SEGMENT} beside it"));
    }
    Some(Awaited { segment: segment?, part: part.and_then(|part| usize::try_from(part).ok()) })
}

fn take_slots(query: &mut Query, container: Container) -> Option<u32> {
    let slots = query.take(SLOTS, |text| {
        let slots = text.parse().ok().filter(|slots| (1..=SLOTS_MAX).contains(slots));
        slots.ok_or_else(|| format!("must be a whole number from 1 to {SLOTS_MAX}"))
    });
    if slots.is_some() && container != Container::Pictures(PictureContainer::Shm) {
        query.refuse(SLOTS, format!("has no place in live.{}: remove it", container.extension()));
    }
    slots
}

fn parse_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "must be a whole number, as playlists count".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FrameRate, PixelFormat, VideoCodec};
    use crate::output::Carrier;
    use crate::plan::Policy;

    fn media(extension: &str, query: &str) -> Media {
        LiveRequest::parse(extension, Some(query)).unwrap().media
    }

    fn output(extension: &str, query: &str) -> OutputRequest {
        match media(extension, query) {
            Media::Rendition(request, _) | Media::CamerasOr(request) => request.output,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn packets_are_copied_unless_pixels_are_asked_for() {
        for extension in ["mp4", "ts", "m3u8", "h264", "h265"] {
            assert_eq!(LiveRequest::parse(extension, None).unwrap().media, Media::Copy);
            assert_eq!(media(extension, "codec=copy"), Media::Copy);
        }
        assert_eq!(media("mjpeg", "codec=copy"), Media::Copy);
        assert!(matches!(media("mjpeg", ""), Media::CamerasOr(_)));
        assert!(matches!(media("mjpeg", "quality=80"), Media::Rendition(..)));
        assert!(matches!(media("mjpeg", "policy=software"), Media::Rendition(..)));
        let encode = |codec| OutputRequest::Encode { codec, rate_control: None, gop: None };
        assert_eq!(output("mp4", "w=640"), encode(VideoCodec::H264));
        assert_eq!(output("ts", "codec=h265"), encode(VideoCodec::Hevc));
        assert_eq!(output("m3u8", "w=640"), encode(VideoCodec::H264));
        assert_eq!(output("h265", "fps=5"), encode(VideoCodec::Hevc));
    }

    #[test]
    fn sound_comes_along_where_there_is_a_place_for_it() {
        let sound = |extension, query| LiveRequest::parse(extension, Some(query)).unwrap().sound;
        let request = |audio, carrier| Some(SoundRequest { audio, carrier });
        assert_eq!(sound("ts", "audio=none"), request(AudioRequest::None, Carrier::Ts));
        assert_eq!(sound("mp4", ""), request(AudioRequest::Copy, Carrier::Mp4));
        assert_eq!(sound("m3u8", "width=640&audio=aac"), request(AudioRequest::Aac, Carrier::Mp4));
        assert_eq!(sound("h264", ""), None);
        assert_eq!(sound("y4m", ""), None);
    }

    #[test]
    fn pictures_are_never_copies() {
        assert_eq!(output("y4m", ""), OutputRequest::Raw(PixelFormat::I420));
        assert_eq!(output("raw", "format=nv12"), OutputRequest::Raw(PixelFormat::Nv12));
        assert_eq!(output("frames", "format=jpeg&q=50"), OutputRequest::Jpeg { quality: 50 });
        assert_eq!(output("mjpeg", "codec=mjpeg&quality=7"), OutputRequest::Jpeg { quality: 7 });
        let Media::Rendition(request, policy) = media("y4m", "width=1280&h=720&fps=5&policy=software") else {
            panic!()
        };
        assert_eq!(
            (request.width, request.height, request.cadence.grid()),
            (Some(1280), Some(720), FrameRate::new(5, 1))
        );
        assert_eq!(policy, Some(Policy::Software));
        assert_eq!(media("y4m", "rendition=detect"), Media::Named("detect".into(), None));
    }

    #[test]
    fn what_is_refused_and_how() {
        let cases = [
            "mkv?",
            "mp4?widht=640",
            "mp4?colour=red",
            "mp4?width=0&w=5&fps=x",
            "mp4?codec=copy&width=640",
            "mp4?codec=mjpeg",
            "mp4?format=i420",
            "mp4?policy=software",
            "mp4?policy=fast&width=5",
            "mp4?audio=loud",
            "h264?audio=none",
            "h264?codec=hevc",
            "h265?codec=h264&policy=software",
            "y4m?format=nv12",
            "y4m?format=jpeg",
            "y4m?codec=copy",
            "y4m?codec=h264",
            "y4m?quality=5",
            "y4m?audio=none",
            "raw?bitrate=1M&gop=5",
            "frames?codec=h264",
            "mjpeg?format=i420",
            "mjpeg?gop=5",
            "mp4?rendition=detect&width=5",
            "mp4?rendition=a/b",
            "mp4?rendition=a&rendition=b",
            "mp4?bitrate=1M&quality=5",
            "mp4?_HLS_msn=5",
            "m3u8?_HLS_msn=x",
            "m3u8?_HLS_part=1",
            "m3u8?codec=mjpeg",
            "raw?slots=2",
            "shm?slots=0&audio=none",
            "shm?format=jpeg",
        ];
        let report = cases.map(|case| {
            let (extension, query) = case.split_once('?').unwrap();
            let error = LiveRequest::parse(extension, Some(query)).unwrap_err();
            format!("{case}\n    {} {error}", error.kind().status())
        });
        insta::assert_snapshot!(report.join("\n"));
    }

    #[test]
    fn a_player_says_what_it_waits_for() {
        let awaited = |query| LiveRequest::parse("m3u8", Some(query)).unwrap().awaited;
        assert_eq!(awaited(""), None);
        assert_eq!(awaited("_HLS_msn=7"), Some(Awaited { segment: 7, part: None }));
        assert_eq!(awaited("width=320&_HLS_msn=7&_HLS_part=0"), Some(Awaited { segment: 7, part: Some(0) }));
    }

    #[test]
    fn a_reader_of_shared_memory_says_how_much_it_holds() {
        let request = LiveRequest::parse("shm", Some("width=320&format=nv12&slots=5")).unwrap();
        assert_eq!(request.slots, Some(5));
        assert_eq!(request.media, media("raw", "width=320&format=nv12"));
    }

    #[test]
    fn a_flood_of_parameters_is_refused() {
        assert!(LiveRequest::parse("mp4", Some(&"a=1&".repeat(10_000))).unwrap_err().message().len() < 200);
    }
}
