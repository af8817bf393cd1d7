//! `GET /v1/streams/{id}/frame.jpg`: one picture.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};

use super::error::{ErrorBody, Failure};
use super::query::Query;
use super::{ApiState, media_headers, stream_id};
use crate::error::{Error, ErrorKind, Result};
use crate::media::query::{DEFAULT_JPEG_QUALITY, RenditionParams};
use crate::media::{Frame, StillSpec, WallClock};
use crate::stream::Moment;

/// Parameters of a rendition that say something about a still, and `at`.
const KNOWN: [&str; 8] = ["at", "width", "w", "height", "h", "crop", "quality", "q"];

const AT_RULE: &str =
    "must be a time ago such as -5s, an RFC 3339 time such as 2026-11-23T10:00:00Z, or seconds since 1970";

/// A still, as asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FrameRequest {
    spec: StillSpec,
    moment: Moment,
}

/// The newest picture, or one that is still in the ring, as JPEG.
#[utoipa::path(
    get, path = "/v1/streams/{id}/frame.{ext}", tag = "media",
    params(
        ("id" = String, Path, description = "Stream id"),
        ("ext" = String, Path, description = "jpg or jpeg"),
        ("at" = Option<String>, Query, description = "-5s, an RFC 3339 time (such as an X-Wall-Clock), or seconds since 1970; default: the newest"),
        ("width" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form w. One side keeps the aspect ratio"),
        ("height" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form h"),
        ("crop" = Option<String>, Query, description = "W:H:X:Y in source pixels, cut out before scaling"),
        ("quality" = Option<u8>, Query, description = "1 to 100, default 80; short form q"),
    ),
    responses(
        (status = 200, description = "The picture", body = Vec<u8>, content_type = "image/jpeg", headers(
            ("X-Pts" = f64, description = "Seconds on the stream's timeline"),
            ("X-Wall-Clock" = String, description = "When it was captured, by the camera's clock, or received; RFC 3339"),
        )),
        (status = 400, description = "A parameter is unknown or malformed", body = ErrorBody),
        (status = 404, description = "No such stream, or the moment is no longer in the ring", body = ErrorBody),
        (status = 422, description = "Past a limit", body = ErrorBody),
        (status = 503, description = "The camera is away; see Retry-After", body = ErrorBody),
    )
)]
pub(super) async fn frame(
    State(state): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path((id, extension)) = path?;
    let id = stream_id(&id)?;
    if !matches!(extension.as_str(), "jpg" | "jpeg") {
        return Err(Error::new(ErrorKind::NotFound, "a picture is frame.jpg or frame.jpeg").into());
    }
    let FrameRequest { spec, moment } = FrameRequest::parse(query.as_deref())?;
    let frame = state.streams.get(&id)?.still(spec, moment).await?;
    Ok(answer(frame))
}

/// Sets `Content-Length` too, as the body is of a known size.
fn answer(frame: Frame) -> Response {
    let pts = format!("{:.6}", frame.header.pts.seconds());
    let wall = frame.header.wall.to_string();
    let mut response = frame.data.into_response();
    let headers = response.headers_mut();
    media_headers(headers, "image/jpeg");
    for (name, value) in [("x-pts", pts), ("x-wall-clock", wall)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

impl FrameRequest {
    fn parse(query: Option<&str>) -> Result<Self> {
        let mut query = Query::read(query, &KNOWN)?;
        let moment = query.take("at", parse_moment).unwrap_or(Moment::Newest);
        let RenditionParams { width, height, crop, quality, .. } = query.take_rendition();
        let spec = StillSpec { width, height, crop, quality: quality.unwrap_or(DEFAULT_JPEG_QUALITY) };
        query.finish(Some(Self { spec, moment }))
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    let moment = match text.strip_prefix('-') {
        Some(ago) => parse_ago(ago),
        None => parse_time(text),
    };
    moment.ok_or_else(|| AT_RULE.to_owned())
}

fn parse_ago(text: &str) -> Option<Moment> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_digit());
    let duration = starts_well.then(|| text.parse::<SignedDuration>().ok()).flatten()?;
    duration.try_into().ok().map(Moment::Ago)
}

fn parse_time(text: &str) -> Option<Moment> {
    let micros = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let seconds: f64 = text.parse().ok()?;
        (seconds * 1e6) as i64
    } else {
        // An unescaped '+' of a time zone arrives as a space.
        text.replace(' ', "+").parse::<Timestamp>().ok()?.as_microsecond()
    };
    Some(Moment::At(WallClock(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Crop, FrameHeader, Geometry, MediaTime};
    use std::time::Duration;

    fn request(query: &str) -> Result<FrameRequest> {
        FrameRequest::parse(Some(query))
    }

    #[test]
    fn moments_are_read_in_three_ways() {
        let at = |text: &str| request(&format!("at={text}")).unwrap().moment;
        assert_eq!(request("").unwrap().moment, Moment::Newest);
        assert_eq!(at("-5s"), Moment::Ago(Duration::from_secs(5)));
        assert_eq!(at("-250ms"), Moment::Ago(Duration::from_millis(250)));
        let time = Moment::At(WallClock(1_795_428_000_500_000));
        for text in ["1795428000.5", "2026-11-23T10:00:00.5Z", "2026-11-23T11:00:00.5+01:00"] {
            assert_eq!(at(text), time, "{text}");
        }
        for bad in ["5s", "-", "--5s", "-5", "", "1.2.3", ".", "yesterday", "-5s ago", "-P1Y", "2026-11-23"] {
            let error = request(&format!("at={bad}")).unwrap_err();
            assert_eq!(error.to_string(), format!("parameter 'at' {AT_RULE}"), "{bad}");
        }
    }

    #[test]
    fn sizes_are_those_of_renditions() {
        let spec = request("w=640&crop=10:20:0:0&q=5").unwrap().spec;
        let crop = Some(Crop { width: 10, height: 20, x: 0, y: 0 });
        assert_eq!(spec, StillSpec { width: Some(640), height: None, crop, quality: 5 });
        let error = request("fps=5&quality=0&widht=1").unwrap_err().to_string();
        assert!(error.contains("'fps' is not known here"), "{error}");
        assert!(error.contains("'quality' must be a whole number from 1 to 100"), "{error}");
        assert!(error.contains("did you mean 'width'?"), "{error}");
    }

    #[test]
    fn the_answer_tells_its_times() {
        let header = FrameHeader { pts: MediaTime(45_000), wall: WallClock(1_000_000), size: Geometry::new(2, 2) };
        let response = answer(Frame { header, data: vec![0xff, 0xd8].into() });
        let get = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(get("content-type"), "image/jpeg");
        assert_eq!(get("cache-control"), "no-store");
        assert_eq!(get("x-pts"), "0.500000");
        assert_eq!(get("x-wall-clock"), "1970-01-01T00:00:01.000Z");
    }
}
