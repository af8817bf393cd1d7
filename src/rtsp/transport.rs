//! How RTP travels to a client: what it may ask for, and the sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Attempts at a pair of free ports side by side.
const PAIR_ATTEMPTS: usize = 32;
/// Ports below are the system's: nobody receives RTP there, and media must not be aimed at whatever listens.
const FIRST_CLIENT_PORT: u16 = 1024;

/// What a client's requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP.
    Plain,
    /// TLS over TCP, which no media leaves.
    Tls,
}

/// What a client asks for, as far as it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Within the RTSP connection; `None` leaves the channels to the server.
    Interleaved(Option<(u8, u8)>),
    /// To these ports of the client, RTP and RTCP.
    Udp(u16, u16),
}

impl Asked {
    /// The first entry of a `Transport` header (RFC 2326 §12.39) that can be served to a client at `peer`: unicast, to
    /// itself and nobody else, for playing.
    ///
    /// Read here, because `rtsp-types` 0.1 panics on a lone quotation mark.
    pub fn choose(header: &str, carrier: Carrier, peer: IpAddr) -> Option<Self> {
        let is_served = |asked: &Self| carrier == Carrier::Plain || matches!(asked, Self::Interleaved(_));
        header.split(',').filter_map(|entry| Self::read(entry, peer)).find(is_served)
    }

    fn read(entry: &str, peer: IpAddr) -> Option<Self> {
        let mut parts = entry.split(';').map(str::trim);
        let protocol = parts.next()?;
        let (mut channels, mut ports) = (None, None);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.to_ascii_lowercase().as_str() {
                "multicast" => return None,
                "destination" if value.parse::<IpAddr>() != Ok(peer.to_canonical()) => return None,
                "mode" if !value.trim_matches('"').eq_ignore_ascii_case("play") => return None,
                "interleaved" => channels = Some(pair(value)?),
                "client_port" => ports = Some(pair(value)?),
                _ => {}
            }
        }
        match protocol.to_ascii_uppercase().as_str() {
            "RTP/AVP/TCP" => {
                let channel = |channel| u8::try_from(channel).ok();
                match channels {
                    None => Some(Self::Interleaved(None)),
                    Some((rtp, rtcp)) => Some(Self::Interleaved(Some((channel(rtp)?, channel(rtcp)?)))),
                }
            }
            "RTP/AVP" | "RTP/AVP/UDP" => {
                let (rtp, rtcp) = ports?;
                (rtp >= FIRST_CLIENT_PORT && rtcp >= FIRST_CLIENT_PORT).then_some(Self::Udp(rtp, rtcp))
            }
            _ => None,
        }
    }
}

/// `4-5`, or `4` for the same; the two differ.
fn pair(value: &str) -> Option<(u16, u16)> {
    let (first, second) = match value.split_once('-') {
        Some((first, second)) => (first.parse().ok()?, second.parse().ok()?),
        None => {
            let first: u16 = value.parse().ok()?;
            (first, first.checked_add(1)?)
        }
    };
    (first != second).then_some((first, second))
}

/// Where a track's packets go.
#[derive(Debug)]
pub enum Transport {
    /// On these channels of the RTSP connection.
    Interleaved {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// To the client's ports.
    Udp(UdpPair),
}

impl Transport {
    /// The name used in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Interleaved { .. } => "tcp",
            Self::Udp(_) => "udp",
        }
    }

    /// The value of the `Transport` header for this track.
    pub fn header(&self, ssrc: u32) -> String {
        match self {
            Self::Interleaved { rtp, rtcp } => {
                format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};ssrc={ssrc:08X};mode=\"PLAY\"")
            }
            Self::Udp(pair) => {
                let ((client_rtp, client_rtcp), (rtp, rtcp)) = (pair.client, pair.server);
                format!(
                    "RTP/AVP;unicast;client_port={client_rtp}-{client_rtcp};server_port={rtp}-{rtcp};ssrc={ssrc:08X};mode=\"PLAY\""
                )
            }
        }
    }
}

/// Two sockets on neighbouring ports (RFC 3550 §11), which talk with one client only.
#[derive(Debug)]
pub struct UdpPair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    client: (u16, u16),
    server: (u16, u16),
}

/// One of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The even one.
    Rtp,
    /// The odd one.
    Rtcp,
}

impl UdpPair {
    /// Opens the sockets at `local`, the address that the client knows, towards `client` ports at `peer`.
    ///
    /// # Errors
    /// If there are no ports or descriptors left.
    pub async fn open(local: IpAddr, peer: IpAddr, client: (u16, u16)) -> io::Result<Self> {
        for _ in 0..PAIR_ATTEMPTS {
            let one = UdpSocket::bind((local, 0)).await?;
            let port = one.local_addr()?.port();
            let Ok(other) = UdpSocket::bind((local, port ^ 1)).await else { continue };
            let (rtp, rtcp) = if port % 2 == 0 { (one, other) } else { (other, one) };
            rtp.connect(SocketAddr::new(peer, client.0)).await?;
            rtcp.connect(SocketAddr::new(peer, client.1)).await?;
            return Ok(Self { rtp, rtcp, client, server: (port & !1, port | 1) });
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no two neighbouring ports are free"))
    }

    /// Sends one packet. What the network refuses is lost, like what it drops.
    pub async fn send(&self, port: Port, packet: &[u8]) {
        let socket = match port {
            Port::Rtp => &self.rtp,
            Port::Rtcp => &self.rtcp,
        };
        if let Err(error) = socket.send(packet).await {
            tracing::trace!(%error, "a datagram was not sent");
        }
    }

    /// Takes a datagram that the client sent to the RTCP port.
    pub fn poll_rtcp<'b>(&self, cx: &mut Context<'_>, buffer: &'b mut [u8]) -> Poll<&'b [u8]> {
        let mut read = ReadBuf::new(buffer);
        // An error is the echo of a datagram sent before (ICMP): it says nothing about the client.
        let received = ready!(self.rtcp.poll_recv(cx, &mut read));
        let length = received.map_or(0, |()| read.filled().len());
        Poll::Ready(buffer.get(..length).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_can_be_served_is_taken() {
        let peer: IpAddr = "192.0.2.7".parse().unwrap();
        let choose = |header| Asked::choose(header, Carrier::Plain, peer);
        assert_eq!(choose("RTP/AVP/TCP;unicast;interleaved=2-3"), Some(Asked::Interleaved(Some((2, 3)))));
        assert_eq!(choose("RTP/AVP/TCP;unicast"), Some(Asked::Interleaved(None)));
        assert_eq!(choose("RTP/AVP;unicast;client_port=5000-5001;mode=play"), Some(Asked::Udp(5000, 5001)));
        assert_eq!(choose("rtp/avp/udp; Client_Port=5000; mode=\"PLAY\""), Some(Asked::Udp(5000, 5001)));
        assert_eq!(choose("RTP/AVP;client_port=5000;destination=192.0.2.7"), Some(Asked::Udp(5000, 5001)));
        let mixed = "RTP/SAVP;unicast;client_port=4-5,RTP/AVP;multicast;client_port=5000,RTP/AVP/TCP;interleaved=0-1";
        assert_eq!(choose(mixed), Some(Asked::Interleaved(Some((0, 1)))));
        // What comes within TLS is answered there.
        let within = |header| Asked::choose(header, Carrier::Tls, peer);
        assert_eq!(within("RTP/AVP;unicast;client_port=5000-5001"), None);
        assert_eq!(within("RTP/AVP;client_port=5000,RTP/AVP/TCP"), Some(Asked::Interleaved(None)));
    }

    #[test]
    fn nothing_is_aimed_at_others_or_at_the_systems_ports() {
        let peer: IpAddr = "192.0.2.7".parse().unwrap();
        for header in [
            "RTP/AVP;unicast;client_port=5000-5001;destination=192.0.2.8",
            "RTP/AVP;unicast;client_port=5000-5001;destination=",
            "RTP/AVP;unicast;client_port=53-54",
            "RTP/AVP;unicast;client_port=0-1",
            "RTP/AVP;unicast;client_port=65535",
            "RTP/AVP;unicast;client_port=5000-5000",
            "RTP/AVP;unicast;client_port=5000-99999",
            "RTP/AVP;unicast",
            "RTP/AVP;multicast;port=5000",
            "RTP/AVP;unicast;client_port=5000-5001;mode=record",
            "RTP/AVP/TCP;interleaved=256-257",
            "RTP/AVP/TCP;mode=\"",
            "RAW/RAW/UDP;client_port=5000",
            "\"",
            "",
        ] {
            assert_eq!(Asked::choose(header, Carrier::Plain, peer), None, "{header}");
        }
    }
}
