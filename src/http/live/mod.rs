//! `GET /v1/streams/{id}/live.{ext}`: media that goes on until either side ends it.

mod container;
pub(super) mod hls;
mod request;
pub(super) mod shm;
mod sound;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use self::container::{Container, PacketContainer, PictureContainer};
use self::request::LiveRequest;
use self::sound::SoundContainer;
use super::error::{ErrorBody, Failure};
use super::{ApiState, body, stream_id};
use crate::error::{Error, ErrorKind, Result};
use crate::media::{AudioConfig, FrameRate, OutputSpec, RenditionRequest, RenditionSpec, VideoCodec, VideoConfig};
use crate::output::{AnnexB, Fmp4, FrameParts, FrameWriter, Mjpeg, MpegTs, PacketMuxer, ParameterSets, RawFrames, Y4m};
use crate::plan::Policy;
use crate::query::Media;
use crate::stream::{SoundRequest, Stream};

/// Live media: joins at once, ends when the client goes.
///
/// Without any parameter of pictures, `mp4`, `ts`, `m3u8`, `h264` and `h265` are copies of the camera's packets; with
/// one, or with `codec`, they are encoded anew; `mjpeg` is a copy if the camera sends JPEGs. `y4m`, `raw`, `frames` and
/// `mjpeg` are pictures. Equal requests share one
/// rendition. A parameter that does not fit the extension is an error.
///
/// `mp4`, `ts` and `m3u8` come with the camera's sound, as AAC where they cannot carry it as it is. `wav` and `s16le` are
/// sound alone, samples of 16 bits for detectors.
#[utoipa::path(
    get, path = "/v1/streams/{id}/live.{ext}", tag = "media",
    params(
        ("id" = String, Path, description = "Stream id"),
        ("ext" = String, Path, description = "mp4, ts, m3u8, h264, h265, y4m, raw, frames, mjpeg, wav or s16le; shm has a call of its own"),
        ("codec" = Option<String>, Query, description = "copy, h264, hevc (or h265); mjpeg for mjpeg and frames"),
        ("format" = Option<String>, Query, description = "i420 (default), nv12, gray, rgb24, bgr24; jpeg for frames"),
        ("width" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form w. One side keeps the aspect ratio"),
        ("height" = Option<u32>, Query, description = "Pixels, 1 to 8192; short form h"),
        ("fps" = Option<String>, Query, description = "Frames a second, such as 5, 12.5 or 30000/1001, or keyframes"),
        ("crop" = Option<String>, Query, description = "W:H:X:Y in source pixels, cut out before scaling"),
        ("bitrate" = Option<String>, Query, description = "Bits a second of an encode, such as 2M or 800k"),
        ("quality" = Option<u8>, Query, description = "1 to 100, of JPEGs or of an encode; short form q"),
        ("gop" = Option<u32>, Query, description = "Frames from IDR to IDR of an encode, 1 to 1000"),
        ("policy" = Option<String>, Query, description = "prefer-hardware, require-hardware or software"),
        ("rendition" = Option<String>, Query, description = "A rendition of the configuration, in place of the above"),
        ("audio" = Option<String>, Query, description = "mp4, ts and m3u8: copy (default; AAC where the form cannot carry the camera's codec), aac or none"),
        ("rate" = Option<u32>, Query, description = "wav and s16le: samples a second, 8000 to 48000; 16000 by default"),
        ("channels" = Option<u16>, Query, description = "wav and s16le: 1 (default) or 2"),
        ("_HLS_msn" = Option<u64>, Query, description = "m3u8: wait for this segment (RFC 8216bis §6.2.5.2)"),
        ("_HLS_part" = Option<u64>, Query, description = "m3u8: wait for this part of it"),
    ),
    responses(
        (status = 200, description = "The media. raw has X-Video-Size, X-Video-Format and X-Video-Fps; each part of \
            frames has X-Sequence, X-Pts, X-Wall-Clock, X-Dropped, X-Video-Size and X-Video-Format",
            content(
                (Vec<u8> = "video/mp4"), (Vec<u8> = "video/mp2t"), (String = "application/vnd.apple.mpegurl"), (Vec<u8> = "video/h264"), (Vec<u8> = "video/h265"),
                (Vec<u8> = "video/x-yuv4mpeg"), (Vec<u8> = "application/octet-stream"),
                (Vec<u8> = "multipart/x-mixed-replace"), (Vec<u8> = "audio/wav"),
            )),
        (status = 400, description = "A parameter is unknown, malformed, or does not fit", body = ErrorBody),
        (status = 404, description = "No such stream, rendition or extension", body = ErrorBody),
        (status = 422, description = "Past a limit, not in this camera's codec, or sound of a camera that has none", body = ErrorBody),
        (status = 503, description = "The camera is away; see Retry-After", body = ErrorBody),
    )
)]
pub(super) async fn live(
    State(state): State<ApiState>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let Path((id, extension)) = path?;
    let id = stream_id(&id)?;
    if let Some(container) = SoundContainer::from_extension(&extension) {
        let spec = sound::parse(query.as_deref())?;
        return Ok(container.live(&state, &*state.streams.get(&id)?, spec).await?);
    }
    let LiveRequest { container, media, sound, awaited, .. } = LiveRequest::parse(&extension, query.as_deref())?;
    let stream = state.streams.get(&id)?;
    let (request, policy) = match media {
        Media::Copy if container == Container::Hls => return Ok(hls::copy(&stream, sound, awaited).await?),
        Media::Copy => return Ok(copy(&state, &stream, container, sound).await?),
        Media::Rendition(request, policy) => (request, policy),
        Media::CamerasOr(request) => {
            let media = stream.copy(None).await?;
            if media.video.codec == VideoCodec::Mjpeg {
                return Ok(body::packets(media, Box::new(Mjpeg), &state.delivery).await?);
            }
            (request, None)
        }
        Media::Named(name, policy) => (named_rendition(&stream, &name, container)?, policy),
    };
    let policy = policy.unwrap_or_else(|| stream.policy());
    Ok(match container {
        Container::Packets(container) => {
            let media = stream.encoded(request, policy, sound).await?;
            let muxer = muxer(container, &media.video, media.audio.as_deref(), ParameterSets::InBand)?;
            body::packets(media, muxer, &state.delivery).await?
        }
        Container::Pictures(container) => pictures(&state, &stream, container, request, policy).await?,
        Container::Hls => hls::rendition(&stream, request, policy, sound, awaited).await?,
    })
}

fn named_rendition(stream: &Stream, name: &str, container: Container) -> Result<RenditionRequest> {
    let request = stream.named_rendition(name)?;
    let problem = |problem| Error::invalid(format!("rendition '{name}' {problem}"));
    container.check(&request.output).map_err(problem)?;
    Ok(request)
}

async fn copy(
    state: &ApiState,
    stream: &Stream,
    container: Container,
    sound: Option<SoundRequest>,
) -> Result<Response> {
    let media = match container {
        // ffmpeg reads five seconds of any transport stream before it shows a picture: they are better there at once.
        Container::Packets(PacketContainer::Ts) => stream.copy_with_history(sound).await?,
        _ => stream.copy(sound).await?,
    };
    check_codec(container, &media.video)?;
    let Container::Packets(container) = container else {
        return body::packets(media, Box::new(Mjpeg), &state.delivery).await;
    };
    let muxer = muxer(container, &media.video, media.audio.as_deref(), ParameterSets::OutOfBand)?;
    body::packets(media, muxer, &state.delivery).await
}

async fn pictures(
    state: &ApiState,
    stream: &Stream,
    container: PictureContainer,
    request: RenditionRequest,
    policy: Policy,
) -> Result<Response> {
    let media = stream.pictures(request, policy).await?;
    let (spec, rate) = (media.spec, media.fps);
    let writer = writer(container, &spec, rate)?;
    let mut response = body::pictures(media, writer, &state.delivery).await?;
    if container == PictureContainer::Raw {
        describe_raw(response.headers_mut(), &spec, rate);
    }
    Ok(response)
}

/// Every form carries copies of some codecs only; the bare stream of a codec, of that one.
fn check_codec(container: Container, video: &VideoConfig) -> Result<()> {
    let (is_copied, encode) = match container {
        Container::Packets(PacketContainer::AnnexB(codec)) => (codec == video.codec, codec),
        Container::Packets(_) | Container::Hls => (video.codec.has_nal_units(), VideoCodec::H264),
        Container::Pictures(_) => (video.codec == VideoCodec::Mjpeg, VideoCodec::Mjpeg),
    };
    if is_copied {
        return Ok(());
    }
    let copying = match video.codec {
        VideoCodec::Mjpeg => Container::Pictures(PictureContainer::Mjpeg),
        codec => Container::Packets(PacketContainer::AnnexB(codec)),
    };
    let message = format!(
        "the camera sends {}, which live.{} does not copy: ask for live.{}, or add codec={} for a new encode",
        video.codec.name(),
        container.extension(),
        copying.extension(),
        encode.name(),
    );
    Err(Error::new(ErrorKind::Impossible, message))
}

fn muxer(
    container: PacketContainer,
    video: &VideoConfig,
    audio: Option<&AudioConfig>,
    parameter_sets: ParameterSets,
) -> Result<Box<dyn PacketMuxer>> {
    Ok(match container {
        PacketContainer::Mp4 => Box::new(Fmp4::new(video, audio, parameter_sets)?),
        PacketContainer::Ts => Box::new(MpegTs::new(video, audio)),
        PacketContainer::AnnexB(_) => Box::new(AnnexB::new(video)),
    })
}

fn writer(container: PictureContainer, spec: &RenditionSpec, rate: FrameRate) -> Result<Box<dyn FrameWriter>> {
    Ok(match (container, spec.output) {
        (PictureContainer::Y4m, OutputSpec::Raw(format)) => Box::new(Y4m::new(format, spec.size, rate)?),
        (PictureContainer::Raw, OutputSpec::Raw(format)) => Box::new(RawFrames::new(format, spec.size)),
        (PictureContainer::Frames, OutputSpec::Raw(format)) => Box::new(FrameParts::raw(format)),
        (PictureContainer::Frames, OutputSpec::Jpeg { .. }) => Box::new(FrameParts::jpeg()),
        (PictureContainer::Mjpeg, OutputSpec::Jpeg { .. }) => Box::new(Mjpeg),
        _ => return Err(Error::internal("a rendition came in a form that was not asked for")),
    })
}

/// Headerless pictures are described by the response's headers.
fn describe_raw(headers: &mut HeaderMap, spec: &RenditionSpec, rate: FrameRate) {
    let format = match spec.output {
        OutputSpec::Raw(format) => format.name(),
        OutputSpec::Jpeg { .. } | OutputSpec::Encode(_) => return,
    };
    headers.insert("x-video-format", HeaderValue::from_static(format));
    for (name, value) in [("x-video-size", spec.size.to_string()), ("x-video-fps", rate.to_string())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
