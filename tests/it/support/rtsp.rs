//! The bytes of RTSP, for what no real client does: odd requests, silence, a window that stays shut.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Camshaft, PATIENCE};

/// A connection to the RTSP port.
pub struct RtspClient {
    socket: TcpStream,
    sequence: u32,
    base: String,
    /// The session that SETUP gave.
    pub session: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl RtspClient {
    /// Connects.
    pub fn connect(server: &Camshaft) -> Self {
        let socket = TcpStream::connect(server.rtsp_address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, sequence: 0, base: server.rtsp_url(""), session: None }
    }

    /// The connection.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Sends a request for `path` with further header lines, and reads the answer; media that comes first is left out.
    pub fn ask(&mut self, method: &str, path: &str, lines: &[&str]) -> Reply {
        self.sequence += 1;
        let mut text = format!("{method} {}{path} RTSP/1.0\r\nCSeq: {}\r\n", self.base, self.sequence);
        for line in self.session.iter().map(|id| format!("Session: {id}")).chain(lines.iter().map(|s| (*s).to_owned()))
        {
            text += &format!("{line}\r\n");
        }
        self.socket.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let reply = self.reply();
        assert_eq!(reply.headers.get("cseq"), Some(&self.sequence.to_string()), "{reply:?}");
        if let Some(session) = reply.headers.get("session") {
            self.session = session.split(';').next().map(str::to_owned);
        }
        reply
    }

    /// Describes `path`, sets its first track up with `transport` and plays; gives SETUP's answer.
    pub fn play(&mut self, path: &str, transport: &str) -> Reply {
        let described = self.ask("DESCRIBE", path, &[]);
        assert_eq!(described.status, 200, "{described:?}");
        let set_up = self.ask("SETUP", &format!("{path}/trackID=0"), &[&format!("Transport: {transport}")]);
        assert_eq!(set_up.status, 200, "{set_up:?}");
        let played = self.ask("PLAY", path, &[]);
        assert_eq!(played.status, 200, "{played:?}");
        set_up
    }

    /// The next answer.
    pub fn reply(&mut self) -> Reply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = self.byte();
            if head.is_empty() && byte == b'$' {
                self.interleaved_behind_mark();
                continue;
            }
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let headers: BTreeMap<String, String> = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).unwrap();
        Reply { status, headers, body: String::from_utf8(body).unwrap() }
    }

    /// The next interleaved packet, with its channel.
    pub fn interleaved(&mut self) -> (u8, Vec<u8>) {
        assert_eq!(self.byte(), b'$');
        self.interleaved_behind_mark()
    }

    /// Whether the server has closed the connection; what still comes is left out.
    pub fn is_closed(&mut self) -> bool {
        std::io::copy(&mut self.socket, &mut std::io::sink()).is_ok()
    }

    fn interleaved_behind_mark(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 3];
        self.socket.read_exact(&mut head).unwrap();
        let mut packet = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        self.socket.read_exact(&mut packet).unwrap();
        (head[0], packet)
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).expect("an answer");
        byte[0]
    }
}
