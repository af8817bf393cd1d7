//! The RTSP handshake: from a task to a camera that plays.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use retina::client::{
    Credentials, Demuxed, Described, InitialTimestampPolicy, PlayOptions, Session, SessionGroup, SessionIdPolicy,
    SessionOptions, SetupOptions, Stream, TcpTransportOptions, TeardownPolicy, UdpTransportOptions,
    UnassignedChannelDataPolicy,
};
use retina::codec::{FrameFormat, ParametersRef};
use tokio::time::timeout;
use url::Url;

use super::failure::Failure;
use crate::link::{FailureKind, IngestTask};
use crate::media::{AudioCodec, AudioConfig, FrameRate, Transport, VideoCodec};

/// A camera that plays.
pub(super) struct Camera {
    /// What it sends.
    pub(super) media: Demuxed,
    /// The video track that was picked.
    pub(super) video: VideoTrack,
    /// The audio track that was picked, if there is one that camshaft carries.
    pub(super) audio: Option<AudioTrack>,
}

/// The first video track in a codec that camshaft carries.
pub(super) struct VideoTrack {
    /// Its place among [`Demuxed::streams`].
    pub(super) index: usize,
    /// Its codec.
    pub(super) codec: VideoCodec,
    /// The SDP's `a=framerate`.
    pub(super) frame_rate: Option<FrameRate>,
}

/// The first audio track in a codec that camshaft carries.
pub(super) struct AudioTrack {
    /// Its place among [`Demuxed::streams`].
    pub(super) index: usize,
    /// What its packets are to be read with.
    pub(super) config: AudioConfig,
}

/// Connects, logs in and sets the camera playing, all within the task's `connect_ms`.
pub(super) async fn open(
    task: &IngestTask,
    addresses: &[SocketAddr],
    sessions: &Arc<SessionGroup>,
) -> Result<Camera, Failure> {
    let deadline = Duration::from_millis(task.connect_ms.into());
    timeout(deadline, handshake(task, addresses, sessions)).await.unwrap_or_else(|_| {
        let message = format!("the camera did not complete the RTSP handshake within {deadline:?}");
        Err(Failure::new(FailureKind::Connect, message))
    })
}

async fn handshake(
    task: &IngestTask,
    addresses: &[SocketAddr],
    sessions: &Arc<SessionGroup>,
) -> Result<Camera, Failure> {
    let refused = |error: retina::Error| Failure::in_handshake(&error, task);
    let mut session = describe(task, addresses, sessions).await?;
    let video = pick_video(session.streams())?;
    let mut audio = pick_audio(session.streams());
    if audio.is_none() {
        name_unused_sound(session.streams());
    }
    session.setup(video.index, setup_options(task)).await.map_err(refused)?;
    if let Some(track) = &audio
        && let Err(error) = session.setup(track.index, setup_options(task)).await
    {
        // A camera that answers "no" to its own audio track still has video.
        error.status_code().ok_or_else(|| refused(error))?;
        audio = None;
    }
    // Without `rtptime` in RTP-Info, tracks start at 0; the timeline deals with that.
    let play_options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
    let media = session.play(play_options).await.and_then(Session::demuxed).map_err(refused)?;
    Ok(Camera { media, video, audio })
}

/// Asks at each address until one can be connected to.
async fn describe(
    task: &IngestTask,
    addresses: &[SocketAddr],
    sessions: &Arc<SessionGroup>,
) -> Result<Session<Described>, Failure> {
    let mut failure = Failure::new(FailureKind::Connect, "the camera's name has no address");
    for address in addresses {
        let url = at(&task.url, *address)?;
        match Session::describe(url, session_options(task, sessions)).await {
            Ok(session) => return Ok(session),
            Err(error) => failure = Failure::in_handshake(&error, task),
        }
        if !failure.is_of(FailureKind::Connect) {
            break;
        }
    }
    Err(failure)
}

/// The camera's URL with its address for its name: a sandbox resolves no names.
fn at(url: &str, address: SocketAddr) -> Result<Url, Failure> {
    let unreadable =
        |error: String| Failure::new(FailureKind::Connect, format!("the camera's URL cannot be read: {error}"));
    let mut url = Url::parse(url).map_err(|error| unreadable(error.to_string()))?;
    url.set_ip_host(address.ip()).map_err(|()| unreadable("it has no host".into()))?;
    Ok(url)
}

fn session_options(task: &IngestTask, sessions: &Arc<SessionGroup>) -> SessionOptions {
    let credentials = task
        .username
        .clone()
        .map(|username| Credentials { username, password: task.password.clone().unwrap_or_default() });
    SessionOptions::default()
        .creds(credentials)
        .user_agent(concat!("camshaft/", env!("CARGO_PKG_VERSION")).to_owned())
        .session_group(sessions.clone())
        .teardown(TeardownPolicy::Auto)
        // Some cameras send tracks that nobody asked for, and some change the session id on the second SETUP.
        .unassigned_channel_data(UnassignedChannelDataPolicy::Auto)
        .session_id(SessionIdPolicy::UseFirst)
}

fn setup_options(task: &IngestTask) -> SetupOptions {
    let transport = match task.transport {
        Transport::Tcp => retina::client::Transport::Tcp(TcpTransportOptions::default()),
        // Groups are for the other client: the configuration sees to that.
        Transport::Udp | Transport::Multicast => retina::client::Transport::Udp(UdpTransportOptions::default()),
    };
    SetupOptions::default().transport(transport).frame_format(FrameFormat::MP4)
}

fn pick_video(streams: &[Stream]) -> Result<VideoTrack, Failure> {
    let codec = |stream: &Stream| match (stream.media(), stream.encoding_name()) {
        ("video", "h264") => Some(VideoCodec::H264),
        ("video", "h265") => Some(VideoCodec::Hevc),
        ("video", "jpeg") => Some(VideoCodec::Mjpeg),
        _ => None,
    };
    let found = streams.iter().enumerate().find_map(|(index, stream)| Some((index, stream, codec(stream)?)));
    let Some((index, stream, codec)) = found else {
        let offered: Vec<String> = streams
            .iter()
            .take(8)
            .map(|stream| format!("{:.32}/{:.32}", stream.media(), stream.encoding_name()))
            .collect();
        let message = format!(
            "the camera offers no video in H.264, H.265 or MJPEG, only [{}]: change its codec",
            offered.join(", ").escape_default()
        );
        return Err(Failure::new(FailureKind::Unsupported, message));
    };
    let frame_rate = stream.framerate().and_then(|rate| FrameRate::new((rate * 1000.0).round() as u32, 1000));
    Ok(VideoTrack { index, codec, frame_rate })
}

fn pick_audio(streams: &[Stream]) -> Option<AudioTrack> {
    streams.iter().enumerate().find_map(|(index, stream)| Some(AudioTrack { index, config: audio_config(stream)? }))
}

/// Tells the log, by way of standard error, why the camera's sound stays behind.
fn name_unused_sound(streams: &[Stream]) {
    if let Some(stream) = streams.iter().find(|stream| stream.media() == "audio") {
        let name = format!("{:.32}", stream.encoding_name());
        let advice = match stream.encoding_name() {
            "opus" => "set ingest: libav, or the camera's sound to AAC or G.711",
            _ => "set the camera's sound to AAC or G.711",
        };
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(std::io::stderr(), "WARN sound in '{}' is left out: {advice}", name.escape_default());
    }
}

/// `None` if it is no audio, or none that camshaft carries, or its parameters make no sense.
fn audio_config(stream: &Stream) -> Option<AudioConfig> {
    let codec = match (stream.media(), stream.encoding_name()) {
        ("audio", "mpeg4-generic") => AudioCodec::Aac,
        ("audio", "pcmu") => AudioCodec::PcmMulaw,
        ("audio", "pcma") => AudioCodec::PcmAlaw,
        _ => return None,
    };
    let Some(ParametersRef::Audio(parameters)) = stream.parameters() else { return None };
    let specific = match codec {
        AudioCodec::Aac => Bytes::copy_from_slice(parameters.extra_data()),
        _ => Bytes::new(),
    };
    Some(AudioConfig {
        codec,
        sample_rate: parameters.clock_rate(),
        channels: NonZeroU16::get(parameters.channels()),
        specific,
        rfc6381: parameters.rfc6381_codec().unwrap_or_default().to_owned(),
    })
}
