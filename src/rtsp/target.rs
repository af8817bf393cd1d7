//! What an RTSP URL names: `rtsp://host/{id}`, with a rendition's parameters as its query; `/trackID=N` behind the id is
//! one track of it.

use rtsp_types::Url;

use crate::error::{Error, Result};
use crate::media::query::{CodecParam, OutputKind};
use crate::media::{AudioRequest, StreamId, VideoCodec};
use crate::query::{Media, MediaParams, Query};

const TRACK: &str = "trackID=";

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The stream.
    pub id: StreamId,
    /// What of it.
    pub media: Media,
    /// The sound beside it.
    pub audio: AudioRequest,
    /// One track, by its place in the description; `None` for all together.
    pub track: Option<usize>,
}

impl Target {
    /// Reads a request's URL.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::InvalidArgument`] with everything that is wrong in it.
    pub fn parse(url: &Url) -> Result<Self> {
        let mut segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        while segments.last().is_some_and(|last| last.is_empty()) {
            segments.pop();
        }
        let (id, track) = match segments[..] {
            [id] => (id, None),
            [id, track] => (id, Some(parse_track(track)?)),
            _ => return Err(Error::invalid("a URL here is rtsp://host/STREAM or rtsp://host/STREAM?width=640&…")),
        };
        let id = id.parse().map_err(|problem: String| Error::invalid(problem))?;
        let (media, audio) = parse_media(url.query())?;
        Ok(Self { id, media, audio, track })
    }
}

/// The URL of all tracks together, as a client is told it.
pub fn aggregate_url(request: &Url, target: &Target) -> Url {
    let mut url = request.clone();
    url.set_path(&format!("/{}", target.id));
    url.set_fragment(None);
    // Refused only where there is no host.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url
}

/// The URL of one track.
pub fn track_url(aggregate: &Url, index: usize) -> Url {
    let mut url = aggregate.clone();
    url.set_path(&format!("{}/{TRACK}{index}", aggregate.path()));
    url
}

fn parse_track(segment: &str) -> Result<usize> {
    let index = segment.strip_prefix(TRACK).and_then(|index| index.parse().ok());
    index.ok_or_else(|| {
        Error::invalid(format!("behind the stream's id only {TRACK}N can stand, as the description says"))
    })
}

fn parse_media(query: Option<&str>) -> Result<(Media, AudioRequest)> {
    let mut query = Query::read(query, &MediaParams::names())?;
    let asked = MediaParams::take(&mut query);
    let audio = asked.audio.unwrap_or_default();
    let media = asked.copy_or_rendition(&mut query, |query, params| {
        let kind = match params.codec {
            Some(CodecParam::Mjpeg) => OutputKind::Jpeg,
            _ => OutputKind::Encode(VideoCodec::H264),
        };
        query.settle(params.request(kind))
    });
    query.finish(media.map(|media| (media, audio)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::OutputRequest;

    fn target(url: &str) -> Result<Target> {
        Target::parse(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_names_a_stream_a_rendition_or_a_track() {
        let copy = target("rtsp://h:8554/cam").unwrap();
        assert_eq!((copy.id.as_str(), &copy.media, copy.track), ("cam", &Media::Copy, None));
        assert_eq!(target("rtsp://h/cam/").unwrap(), copy);
        assert_eq!(target("rtsp://h/cam/trackID=1").unwrap().track, Some(1));
        assert_eq!(
            (copy.audio, target("rtsp://h/cam?audio=none").unwrap().audio),
            (AudioRequest::Copy, AudioRequest::None)
        );
        assert_eq!(target("rtsp://h/cam?width=640&audio=aac").unwrap().audio, AudioRequest::Aac);
        assert_eq!(target("rtsp://h/cam?rendition=phone").unwrap().media, Media::Named("phone".into(), None));
        let output = |url| match target(url).unwrap().media {
            Media::Rendition(request, _) => request.output,
            other => panic!("{other:?}"),
        };
        let encode = |codec| OutputRequest::Encode { codec, rate_control: None, gop: None };
        assert_eq!(output("rtsp://h/cam?width=640"), encode(VideoCodec::H264));
        assert_eq!(output("rtsp://h/cam/trackID=0?codec=hevc"), encode(VideoCodec::Hevc));
        assert_eq!(output("rtsp://h/cam?codec=mjpeg&q=70"), OutputRequest::Jpeg { quality: 70 });
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, problem) in [
            ("rtsp://h/", "rtsp://host/STREAM"),
            ("rtsp://h/a/b", "trackID=N"),
            ("rtsp://h/a/trackID=x", "trackID=N"),
            ("rtsp://h/a/b/c", "rtsp://host/STREAM"),
            ("rtsp://h/a%20b", "is no stream id"),
            ("rtsp://h/a?widht=5", "did you mean 'width'"),
            ("rtsp://h/a?format=nv12", "format"),
            ("rtsp://h/a?width=640&audio=loud", "copy, aac, none"),
        ] {
            let error = target(url).unwrap_err();
            assert!(error.message().contains(problem), "{url}: {error}");
        }
    }

    #[test]
    fn clients_are_told_urls_without_passwords() {
        let url = Url::parse("rtsp://u:p@h:8554/cam/?width=640#x").unwrap();
        let aggregate = aggregate_url(&url, &Target::parse(&url).unwrap());
        assert_eq!(aggregate.as_str(), "rtsp://h:8554/cam?width=640");
        assert_eq!(track_url(&aggregate, 1).as_str(), "rtsp://h:8554/cam/trackID=1?width=640");
    }
}
