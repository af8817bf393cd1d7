//! `POST /v1/transcode`: a file or stream in the body, another one in the answer, which begins while the body still comes.

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::error::{ErrorBody, Failure};
use super::upload::Upload;
use super::{ApiState, media_headers};
use crate::job::{Ended, Running, Spool};
use crate::media::{JobFormat, JobStats};
use crate::query::TranscodeRequest;

/// Bytes of the answer handed over at a time.
const CHUNK: usize = 64 << 10;
/// What is said at the end. HTTP/1.1 sends it to clients that say `TE: trailers`.
const TRAILERS: &str = "server-timing, x-camshaft-result, x-camshaft-frames-in, x-camshaft-frames-out";

/// Transcodes the body: the answer begins while the body still comes.
///
/// The body may be MP4, MOV, MKV, WebM, MPEG-TS, FLV, AVI, Annex B H.264 or H.265, JPEGs, y4m, or bare pixels. Read the
/// answer while you send: what is made is kept for a while only. An answer that ends without the mark of a whole response
/// is a piece of a file.
#[utoipa::path(
    post, path = "/v1/transcode", tag = "media",
    params(
        ("format" = Option<String>, Query, description = "mp4 (default), ts, mkv, mjpeg, y4m, raw or jpg; or by Accept"),
        ("codec" = Option<String>, Query, description = "copy, h264 (default), hevc (h265), mjpeg or av1; for mp4, ts and mkv"),
        ("width" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form w. One side keeps the aspect ratio"),
        ("height" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form h"),
        ("fps" = Option<f64>, Query, description = "Frames a second; default: every frame"),
        ("bitrate" = Option<String>, Query, description = "10k to 100M; default: what fits size and rate"),
        ("quality" = Option<u8>, Query, description = "1 to 100, in place of bitrate; short form q"),
        ("gop" = Option<u32>, Query, description = "Frames from IDR to IDR; default: two seconds"),
        ("audio" = Option<String>, Query, description = "copy (default; AAC where the format has no place for the codec), aac or none"),
        ("start" = Option<f64>, Query, description = "Seconds of the input that are left out"),
        ("duration" = Option<f64>, Query, description = "Seconds that are made"),
        ("at" = Option<f64>, Query, description = "For jpg: seconds; the first picture at or after it"),
        ("pixels" = Option<String>, Query, description = "For raw: i420 (default), nv12, gray, rgb24 or bgr24"),
        ("policy" = Option<String>, Query, description = "prefer-hardware, require-hardware or software; default: the configuration's"),
        ("input" = Option<String>, Query, description = "raw: the body is bare pixels"),
        ("input_width" = Option<u32>, Query, description = "For input=raw: pixels"),
        ("input_height" = Option<u32>, Query, description = "For input=raw: pixels"),
        ("input_fps" = Option<f64>, Query, description = "For input=raw: frames a second"),
        ("input_format" = Option<String>, Query, description = "For input=raw: as pixels"),
    ),
    request_body(content = Vec<u8>, description = "A file or a stream", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "What was made", body = Vec<u8>, content_type = "video/mp4", headers(
            ("X-Camshaft-Decode" = String, description = "hardware or software"),
            ("X-Camshaft-Encode" = String, description = "hardware, software or none"),
            ("X-Camshaft-Reason" = String, description = "Why not all on hardware"),
        )),
        (status = 400, description = "A parameter is unknown or malformed", body = ErrorBody),
        (status = 422, description = "The input is not what it must be, or the request does not fit it", body = ErrorBody),
        (status = 503, description = "There is no room; see Retry-After", body = ErrorBody),
    )
)]
pub(super) async fn transcode(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Failure> {
    let accepted = accepted(request.headers());
    let TranscodeRequest { spec, policy } = TranscodeRequest::parse(query.as_deref(), accepted)?;
    let policy = policy.unwrap_or_else(|| state.defaults.borrow().policy);
    let place = state.jobs.take_place()?;
    let started = Instant::now();
    let input = state.jobs.spool();
    let (arrived, arrival) = watch::channel(tokio::time::Instant::now());
    request.extensions().get::<Upload>().cloned().unwrap_or_default().begin();
    let upload = receive(request.into_body(), input.clone(), arrived).in_current_span();
    let upload = AbortOnDropHandle::new(tokio::spawn(upload));
    let running = state.jobs.start(spec, policy, input, place).await?;
    let client = Client { stalled_after: state.delivery.stalled_consumer, arrival };
    Ok(answer(running, upload, started, client, state.delivery.shutdown.clone()))
}

/// Puts the body into the spool. What nobody reads any more is not waited for.
async fn receive(body: Body, input: Arc<Spool>, arrived: watch::Sender<tokio::time::Instant>) {
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        arrived.send_replace(tokio::time::Instant::now());
        let written = match piece {
            Ok(piece) => input.write(piece).await.map_err(|error| error.chain()),
            Err(error) => Err(format!("the body ended early: {error}")),
        };
        if let Err(why) = written {
            return input.end(Err(why));
        }
    }
    input.end(Ok(()));
}

/// The first format in `Accept` that is one of ours; any other header leaves the choice open.
fn accepted(headers: &HeaderMap) -> Option<JobFormat> {
    let wanted = headers.get(header::ACCEPT)?.to_str().ok()?;
    let types = wanted.split(',').map(|wanted| wanted.split(';').next().unwrap_or_default().trim());
    let find = |wanted: &str| {
        let ours = JobFormat::ALL.iter().map(|(_, format)| *format);
        ours.into_iter().find(|format| format.content_type() == wanted && wanted != "application/octet-stream")
    };
    types.into_iter().find_map(find)
}

fn answer(
    running: Running,
    upload: AbortOnDropHandle<()>,
    started: Instant,
    client: Client,
    shutdown: CancellationToken,
) -> Response {
    let described = describe(&running, started);
    let content_type = running.format.content_type();
    let (frames, pieces) = mpsc::channel(1);
    let task = async move {
        let _upload = upload;
        tokio::select! {
            () = send(running, &frames, started, client) => {}
            () = shutdown.cancelled() => {}
        }
    };
    let task = AbortOnDropHandle::new(tokio::spawn(task.in_current_span()));
    let stream = futures_util::stream::unfold(Pieces { pieces, is_whole: false, _task: task }, Pieces::next);
    let mut response = Response::new(Body::new(StreamBody::new(stream)));
    media_headers(response.headers_mut(), content_type);
    response.headers_mut().extend(described);
    response
}

/// What is sent. The task that makes it ends with it.
struct Pieces {
    pieces: mpsc::Receiver<Frame<Bytes>>,
    is_whole: bool,
    _task: AbortOnDropHandle<()>,
}

impl Pieces {
    /// Only trailers end an answer; one that ends before them is cut off.
    async fn next(mut self) -> Option<(std::io::Result<Frame<Bytes>>, Self)> {
        match self.pieces.recv().await {
            Some(frame) => {
                self.is_whole = frame.is_trailers();
                Some((Ok(frame), self))
            }
            None if self.is_whole => None,
            None => Some((Err(std::io::ErrorKind::ConnectionAborted.into()), self)),
        }
    }
}

/// Sends what is made, and at the end how it went. Returns before that if the job broke, or if its client did.
async fn send(running: Running, frames: &mpsc::Sender<Frame<Bytes>>, started: Instant, client: Client) {
    let mut offset = 0u64;
    while let Ok(bytes) = running.output.read(offset, CHUNK).await {
        if bytes.is_empty() {
            let ended = running.ended().await;
            let stats = *running.stats.borrow();
            let _ = frames.send(Frame::trailers(trailers(&ended, stats, started))).await;
            return;
        }
        offset += bytes.len() as u64;
        tokio::select! {
            sent = frames.send(Frame::data(bytes)) => if sent.is_err() { return },
            () = client.stalls() => {
                tracing::warn!("a job's client took and sent nothing for {:?} and is given up", client.stalled_after);
                return;
            }
        }
    }
}

/// Who may send for as long as it likes before it takes what was made.
struct Client {
    stalled_after: Duration,
    /// When the newest piece of the body came.
    arrival: watch::Receiver<tokio::time::Instant>,
}

impl Client {
    /// Returns once neither side has moved for too long, counted from now.
    async fn stalls(&self) {
        let mut deadline = tokio::time::Instant::now() + self.stalled_after;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep_until(deadline).await;
            deadline = deadline.max(*self.arrival.borrow() + self.stalled_after);
        }
    }
}

fn describe(running: &Running, started: Instant) -> HeaderMap {
    let encode = running.stages.encode.as_ref().map_or("none", |encode| encode.accel());
    let first = format!("first-byte;dur={}", started.elapsed().as_millis());
    let pairs = [
        ("x-camshaft-decode", running.stages.decode.accel().to_owned()),
        ("x-camshaft-encode", encode.to_owned()),
        ("x-camshaft-reason", running.reason.clone().unwrap_or_default()),
        ("server-timing", first),
        ("trailer", TRAILERS.to_owned()),
    ];
    headers(pairs.into_iter().filter(|(_, value)| !value.is_empty()))
}

fn trailers(ended: &Ended, stats: JobStats, started: Instant) -> HeaderMap {
    let elapsed = started.elapsed();
    let fps = stats.frames_out as f64 / elapsed.as_secs_f64().max(1e-3);
    let result = match ended {
        Ended::Whole => "whole".to_owned(),
        Ended::Broken(why) => why.clone(),
    };
    headers([
        ("server-timing", format!("total;dur={}, fps;desc=\"{fps:.1}\"", elapsed.as_millis())),
        ("x-camshaft-result", result),
        ("x-camshaft-frames-in", stats.frames_in.to_string()),
        ("x-camshaft-frames-out", stats.frames_out.to_string()),
    ])
}

fn headers(pairs: impl IntoIterator<Item = (&'static str, String)>) -> HeaderMap {
    let header = |(name, value): (&'static str, String)| {
        let plain: String = value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        Some((HeaderName::from_static(name), HeaderValue::from_str(&plain).ok()?))
    };
    pairs.into_iter().filter_map(header).collect()
}
