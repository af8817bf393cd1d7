//! A session (RFC 2326 appendix A): the tracks that a client has set up, and what plays on them.

use bytes::BytesMut;
use futures_util::FutureExt;
use rtsp_types::{StatusCode, Url};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

use super::feed::{Feed, Unit};
use super::presentation::TrackInfo;
use super::reply::Refused;
use super::rtp::{Sender, WallClockMap, is_rtcp};
use super::target::{Target, track_url};
use super::transport::{Asked, Port, Transport, UdpPair};
use crate::error::{Error, Result};
use crate::media::{Track, WallClock};
use crate::metrics::Metrics;
use crate::output::parameter_sets_before;
use crate::stream::Stream;

/// Between sender reports (RFC 3550 §6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Units that are there already are sent together up to this many bytes.
const BATCH: usize = 256 << 10;
/// UDP packets in a row, and the pause behind them: 90 Mbit/s, which a camera's network carries.
const BURST_MAX: usize = 16;
const BURST_PAUSE: Duration = Duration::from_millis(2);

/// What a client has described or set up.
#[derive(Debug)]
pub struct Presentation {
    /// What it is, all tracks together.
    pub target: Target,
    /// Where it comes from.
    pub stream: Arc<Stream>,
    /// Its URL as the client knows it.
    pub url: Url,
    /// Its tracks, in the order of the description.
    pub tracks: Vec<TrackInfo>,
}

/// A client's session.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: String,
    /// What it shows.
    pub presentation: Arc<Presentation>,
    channels: Vec<Channel>,
    player: Option<Player>,
}

/// A track that is set up.
#[derive(Debug)]
struct Channel {
    index: usize,
    transport: Transport,
    sender: Sender,
}

/// What plays.
#[derive(Debug)]
struct Player {
    feed: Feed,
    /// Taken from the feed, not yet sent.
    next: Option<Unit>,
    wall_clock: WallClockMap,
    next_report: Instant,
    _counted: Counted,
}

/// A playing session in the metrics.
#[derive(Debug)]
struct Counted {
    metrics: Arc<Metrics>,
    transport: &'static str,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.rtsp_sessions.with_label_values(&[self.transport]).dec();
    }
}

/// Something that happened in a session.
#[derive(Debug)]
pub enum Event {
    /// There is media to send.
    Unit(Unit),
    /// A report is due.
    ReportDue,
    /// The client gave a sign of life.
    Alive,
    /// The stream has ended.
    Ended,
}

impl Session {
    /// A session of nothing yet.
    pub fn new(id: String, presentation: Arc<Presentation>) -> Self {
        Self { id, presentation, channels: vec![], player: None }
    }

    /// Whether media flows.
    pub fn plays(&self) -> bool {
        self.player.is_some()
    }

    /// Whether any track is set up.
    pub fn has_tracks(&self) -> bool {
        !self.channels.is_empty()
    }

    /// How its tracks travel, as metrics and logs name it.
    pub fn transport(&self) -> &'static str {
        self.channels.first().map_or("", |channel| channel.transport.name())
    }

    /// Whether writing media into the connection shows that the client lives.
    pub fn shows_life_by_reading(&self) -> bool {
        let interleaved = |channel: &Channel| matches!(channel.transport, Transport::Interleaved { .. });
        self.plays() && self.channels.iter().all(interleaved)
    }

    /// Sets up a track; gives the value of the `Transport` header.
    ///
    /// # Errors
    /// 455 while it plays, 461 for channels that are taken, 500 without free ports.
    pub async fn set_up(&mut self, index: usize, asked: Asked, local: IpAddr, peer: IpAddr) -> Result<String, Refused> {
        if self.plays() {
            let message = "tracks are set up before they play: PAUSE or TEARDOWN first";
            return Err(Refused::new(StatusCode::MethodNotValidInThisState, message));
        }
        let Some(info) = self.presentation.tracks.get(index) else {
            return Err(Refused::new(StatusCode::NotFound, "the stream has no such track"));
        };
        let sender = Sender::new(info.format, info.payload_type, info.clock);
        self.channels.retain(|channel| channel.index != index);
        let transport = match asked {
            Asked::Interleaved(channels) => self.interleaved(index, channels)?,
            Asked::Udp(rtp, rtcp) => {
                let pair = UdpPair::open(local, peer, (rtp, rtcp)).await;
                Transport::Udp(pair.map_err(|error| {
                    Refused::new(StatusCode::InternalServerError, format!("no ports for RTP: {error}"))
                })?)
            }
        };
        if self.channels.iter().any(|channel| channel.transport.name() != transport.name()) {
            let message = "the tracks of a session travel alike: ask for the transport of the first one";
            return Err(Refused::new(StatusCode::UnsupportedTransport, message));
        }
        let header = transport.header(sender.ssrc());
        self.channels.push(Channel { index, transport, sender });
        Ok(header)
    }

    fn interleaved(&self, index: usize, asked: Option<(u8, u8)>) -> Result<Transport, Refused> {
        let own = u8::try_from(2 * index).unwrap_or(u8::MAX - 1);
        let (rtp, rtcp) = asked.unwrap_or((own, own + 1));
        let taken = |channel: &Channel| match channel.transport {
            Transport::Interleaved { rtp: a, rtcp: b } => [a, b].iter().any(|taken| [rtp, rtcp].contains(taken)),
            Transport::Udp(_) => false,
        };
        if self.channels.iter().any(taken) {
            let message = "another track has these interleaved channels: give each track two of its own";
            return Err(Refused::new(StatusCode::UnsupportedTransport, message));
        }
        Ok(Transport::Interleaved { rtp, rtcp })
    }

    /// Starts at the newest keyframe; gives the value of the `RTP-Info` header.
    ///
    /// # Errors
    /// Whatever keeps the stream from being joined.
    pub async fn play(&mut self, metrics: &Arc<Metrics>) -> Result<String, Refused> {
        let transport = self.transport();
        let target = &self.presentation.target;
        let mut feed = Feed::open(&self.presentation.stream, &target.media, target.audio).await?;
        let Some(unit) = feed.next().await else {
            return Err(Refused::new(StatusCode::ServiceUnavailable, "the stream is ending"));
        };
        let info: Vec<String> = self.channels.iter().map(|channel| self.rtp_info(channel, &unit)).collect();
        metrics.rtsp_sessions.with_label_values(&[transport]).inc();
        self.player = Some(Player {
            feed,
            next: Some(unit),
            wall_clock: WallClockMap::default(),
            next_report: Instant::now(),
            _counted: Counted { metrics: metrics.clone(), transport },
        });
        Ok(info.join(","))
    }

    /// RFC 2326 §12.33.
    fn rtp_info(&self, channel: &Channel, first: &Unit) -> String {
        let url = track_url(&self.presentation.url, channel.index);
        let (sequence, timestamp) = (channel.sender.sequence(), channel.sender.timestamp(first.pts()));
        format!("url={url};seq={sequence};rtptime={timestamp}")
    }

    /// Stops the media; the tracks stay set up.
    pub fn pause(&mut self) {
        self.player = None;
    }

    /// What happens next. Cancel-safe.
    pub async fn event(&mut self) -> Event {
        let Self { channels, player, .. } = self;
        let alive = heard(channels);
        let Some(player) = player else {
            alive.await;
            return Event::Alive;
        };
        if let Some(unit) = player.next.take() {
            return Event::Unit(unit);
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(player.next_report) => Event::ReportDue,
            unit = player.feed.next() => unit.map_or(Event::Ended, Event::Unit),
            () = alive => Event::Alive,
        }
    }

    /// The packets of `unit`, and of what is there already behind it, in the framing of RFC 2326 §10.12.
    ///
    /// # Errors
    /// If the media has taken a form that the tracks were not described with, or that RTP does not carry.
    pub fn packets(&mut self, unit: &Unit, out: &mut BytesMut) -> Result<()> {
        self.packetise(unit, out)?;
        while out.len() < BATCH
            && let Some(player) = &mut self.player
            && let Some(Some(unit)) = player.feed.next().now_or_never()
        {
            self.packetise(&unit, out)?;
        }
        Ok(())
    }

    fn packetise(&mut self, unit: &Unit, out: &mut BytesMut) -> Result<()> {
        let Some(player) = &mut self.player else { return Ok(()) };
        let (track, data) = match unit {
            Unit::Packet(packet) => (packet.header.track, &packet.data),
            Unit::Picture(frame) => (Track::Video, &frame.data),
        };
        if track == Track::Video {
            let (time, wall) = unit.received();
            player.wall_clock.note(time, wall);
        }
        let tracks = &self.presentation.tracks;
        let is_its = |channel: &&mut Channel| tracks.get(channel.index).is_some_and(|info| info.track == track);
        let Some(channel) = self.channels.iter_mut().find(is_its) else { return Ok(()) };
        let sets = match unit {
            Unit::Packet(packet) if tracks.get(channel.index).is_some_and(|info| !info.carries(packet)) => {
                return match track {
                    Track::Video => Err(Error::unavailable("the camera changed its codec")),
                    // The picture goes on without.
                    Track::Audio => Ok(()),
                };
            }
            Unit::Packet(packet) => {
                packet.video_config().map_or(&[][..], |config| parameter_sets_before(packet, config))
            }
            Unit::Picture(_) => &[],
        };
        let (rtp, _) = channel.numbers();
        channel.sender.send(unit.pts(), sets, data, rtp, out)
    }

    /// A report for each track, if one is due.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Internal`] if one could not be written.
    pub fn reports(&mut self, out: &mut BytesMut) -> Result<()> {
        let Some(player) = self.player.as_mut().filter(|player| player.next_report <= Instant::now()) else {
            return Ok(());
        };
        player.next_report = Instant::now() + REPORT_INTERVAL;
        player.wall_clock.settle();
        let now = WallClock::now();
        self.channels.iter().try_for_each(|channel| {
            let (_, rtcp) = channel.numbers();
            channel.sender.report(&player.wall_clock, now, rtcp, out)
        })
    }

    /// The end of each track.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Internal`] if it could not be written.
    pub fn goodbyes(&self, out: &mut BytesMut) -> Result<()> {
        self.channels.iter().try_for_each(|channel| channel.sender.goodbye(channel.numbers().1, out))
    }

    /// Sends framed packets over UDP; `false` if this session's travel within the connection. Larger bursts are paced:
    /// no receiver's buffer holds a keyframe of a large picture at once.
    pub async fn send_datagrams(&self, mut framed: &[u8]) -> bool {
        if self.channels.iter().any(|channel| matches!(channel.transport, Transport::Interleaved { .. })) {
            return false;
        }
        let mut burst = 0;
        while let [b'$', number, high, low, rest @ ..] = framed {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((packet, after)) = rest.split_at_checked(length) else { break };
            let its = self.channels.iter().find(|channel| channel.index == usize::from(number / 2));
            let Some(Channel { transport: Transport::Udp(pair), .. }) = its else { break };
            if burst == BURST_MAX {
                tokio::time::sleep(BURST_PAUSE).await;
                burst = 0;
            }
            pair.send(if number % 2 == 0 { Port::Rtp } else { Port::Rtcp }, packet).await;
            burst += 1;
            framed = after;
        }
        true
    }

    /// Counts this session's consumer as closed because it took nothing.
    pub fn note_stalled(&self) {
        if let Some(player) = &self.player {
            player.feed.note_stalled();
        }
    }
}

impl Channel {
    /// The framing's channels of RTP and RTCP.
    fn numbers(&self) -> (u8, u8) {
        match self.transport {
            Transport::Interleaved { rtp, rtcp } => (rtp, rtcp),
            // They say which sockets; no client sees them. There are two tracks at most.
            Transport::Udp(_) => (2 * self.index as u8, 2 * self.index as u8 + 1),
        }
    }
}

/// Resolves when the client has sent RTCP to one of the UDP ports.
async fn heard(channels: &[Channel]) {
    std::future::poll_fn(|cx| poll_heard(channels, cx)).await;
}

fn poll_heard(channels: &[Channel], cx: &mut Context<'_>) -> Poll<()> {
    let mut buffer = [0; 1500];
    for channel in channels {
        let Transport::Udp(pair) = &channel.transport else { continue };
        while let Poll::Ready(datagram) = pair.poll_rtcp(cx, &mut buffer) {
            if is_rtcp(datagram) {
                return Poll::Ready(());
            }
        }
    }
    Poll::Pending
}
