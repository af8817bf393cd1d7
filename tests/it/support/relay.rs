//! A relay between camshaft and an RTSP camera over TCP that loses, damages and rewrites what the camera sends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of the RTP packets that the camera sends. Everything random is drawn from one seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tamper {
    /// They pass.
    Nothing,
    /// One bit in so many of their payload is turned over.
    FlipBits(u32),
    /// So many of a hundred are lost.
    Lose(u32),
    /// Their timestamps are so much later, modulo 2³².
    Shift(u32),
    /// Their timestamps reach 2³² one second from the first on.
    Wrap,
    /// All have the timestamp that the last one had.
    Freeze,
    /// Their payload is noise.
    Garbage,
    /// They come so much later than they were sent, as everything that the camera says.
    Late(Duration),
    /// They pass, but the camera's clock is so many seconds ahead, by its reports.
    ClockAhead(u32),
    /// Nothing passes in either direction, and nobody is told.
    Silence,
}

/// A relay on a port of its own, until it is dropped.
pub struct Relay {
    port: u16,
    shared: Arc<Mutex<State>>,
}

/// A message and when it is to be passed on.
type Due = (Instant, Vec<u8>);

struct State {
    tamper: Tamper,
    camera: u16,
    is_away: bool,
    is_over: bool,
    answered: Option<Instant>,
    struck: u64,
    connections: Vec<TcpStream>,
}

impl Relay {
    /// A relay to the camera on this port.
    pub fn to(camera: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            tamper: Tamper::Nothing,
            camera,
            is_away: false,
            is_over: false,
            answered: None,
            struck: 0,
            connections: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(state));
        let relay = Self { port, shared: shared.clone() };
        std::thread::spawn(move || serve(&listener, &shared));
        relay
    }

    /// Where camshaft finds the camera.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/cam", self.port)
    }

    /// From now on this happens.
    pub fn tamper(&self, tamper: Tamper) {
        let mut state = self.shared.lock().unwrap();
        (state.tamper, state.struck) = (tamper, 0);
    }

    /// Bits that were flipped, or packets that were lost or rewritten, since [`Relay::tamper`].
    pub fn struck(&self) -> u64 {
        self.shared.lock().unwrap().struck
    }

    /// Further connections go to the camera on this port.
    pub fn switch_to(&self, camera: u16) {
        self.shared.lock().unwrap().camera = camera;
    }

    /// Resets all connections, and those to come until [`Relay::come_back`].
    pub fn go_away(&self) {
        let mut state = self.shared.lock().unwrap();
        state.is_away = true;
        state.connections.drain(..).for_each(reset);
    }

    /// Resets all connections; the next may come at once.
    pub fn reset(&self) {
        self.shared.lock().unwrap().connections.drain(..).for_each(reset);
    }

    /// Connections are answered again.
    pub fn come_back(&self) {
        let mut state = self.shared.lock().unwrap();
        (state.is_away, state.answered) = (false, None);
    }

    /// When the first connection came after [`Relay::come_back`], or ever.
    pub fn answered(&self) -> Option<Instant> {
        self.shared.lock().unwrap().answered
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().unwrap().is_over = true;
        self.reset();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Disconnecting a TCP socket resets its connection, even while threads read it through other descriptors.
fn reset(socket: TcpStream) {
    // A connection that is gone already is as good.
    let _ = rustix::net::connect_unspec(&socket);
}

fn serve(listener: &TcpListener, shared: &Arc<Mutex<State>>) {
    for client in listener.incoming().map_while(Result::ok) {
        let mut state = shared.lock().unwrap();
        if state.is_over {
            return;
        }
        if state.is_away {
            reset(client);
            continue;
        }
        let Ok(camera) = TcpStream::connect(("127.0.0.1", state.camera)) else {
            reset(client);
            continue;
        };
        state.answered.get_or_insert_with(Instant::now);
        let clones = || Some((client.try_clone().ok()?, camera.try_clone().ok()?, shared.clone()));
        let Some(((from_client, to_camera, asked), (to_client, from_camera, media))) = clones().zip(clones()) else {
            continue;
        };
        std::thread::spawn(move || {
            let _ = pass_requests(from_client, &to_camera, &asked);
            let _ = to_camera.shutdown(Shutdown::Both);
        });
        std::thread::spawn(move || {
            let (sender, due) = mpsc::channel();
            let writer = std::thread::spawn(move || {
                let _ = write_when_due(&due, &to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            let _ = pass_media(from_camera, &sender, &media);
            drop(sender);
            let _ = writer.join();
        });
        state.connections.push(client);
        state.connections.push(camera);
    }
}

fn pass_requests(mut client: TcpStream, mut camera: &TcpStream, shared: &Mutex<State>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        if shared.lock().unwrap().tamper != Tamper::Silence {
            camera.write_all(&chunk[..count])?;
        }
    }
}

/// Passes answers on as they are, and RTP packets (RFC 2326 §10.12) with what becomes of them.
fn pass_media(camera: TcpStream, client: &mpsc::Sender<Due>, shared: &Mutex<State>) -> io::Result<()> {
    let mut camera = BufReader::new(camera);
    let mut mangler = Mangler { random: fastrand::Rng::with_seed(4), last_timestamp: 0, shift: None };
    while let Some(first) = camera.fill_buf()?.first().copied() {
        let mut message = Vec::new();
        if first != b'$' {
            read_answer(&mut camera, &mut message)?;
        } else {
            message.resize(4, 0);
            camera.read_exact(&mut message)?;
            message.resize(4 + usize::from(u16::from_be_bytes([message[2], message[3]])), 0);
            camera.read_exact(&mut message[4..])?;
            let tamper = shared.lock().unwrap().tamper;
            let Mangled { keeps, struck } = mangler.mangle(&mut message, tamper);
            let mut state = shared.lock().unwrap();
            if state.tamper == tamper {
                state.struck += struck;
            }
            if !keeps {
                continue;
            }
        }
        let late = match shared.lock().unwrap().tamper {
            Tamper::Late(late) => late,
            _ => Duration::ZERO,
        };
        client.send((Instant::now() + late, message)).map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
    Ok(())
}

fn write_when_due(due: &mpsc::Receiver<Due>, mut client: &TcpStream) -> io::Result<()> {
    for (at, message) in due {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        client.write_all(&message)?;
    }
    Ok(())
}

fn read_answer(camera: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<()> {
    let mut length = 0;
    loop {
        let start = message.len();
        if camera.read_until(b'\n', message)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&message[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let head = message.len();
    message.resize(head + length, 0);
    camera.read_exact(&mut message[head..])
}

struct Mangler {
    random: fastrand::Rng,
    last_timestamp: u32,
    shift: Option<u32>,
}

/// What became of a packet.
struct Mangled {
    /// Whether it is passed on.
    keeps: bool,
    /// How much of it is not as the camera sent it: bits, or 1.
    struck: u64,
}

impl Mangled {
    const UNTOUCHED: Self = Self { keeps: true, struck: 0 };
    const REWRITTEN: Self = Self { keeps: true, struck: 1 };
    const LOST: Self = Self { keeps: false, struck: 1 };
}

impl Mangler {
    /// Does to an interleaved packet what is to become of it.
    fn mangle(&mut self, message: &mut [u8], tamper: Tamper) -> Mangled {
        if tamper == Tamper::Silence {
            return Mangled::LOST;
        }
        // Even channels carry RTP (RFC 3550 §5.1), odd ones reports.
        if message[1] % 2 == 1 || message.len() < 4 + 14 {
            return Self::mangle_report(message, tamper);
        }
        let timestamp = u32::from_be_bytes([message[8], message[9], message[10], message[11]]);
        let mangled = match tamper {
            Tamper::Nothing | Tamper::Silence | Tamper::Late(_) | Tamper::ClockAhead(_) => Mangled::UNTOUCHED,
            Tamper::FlipBits(one_in) => {
                let mut struck = 0;
                for byte in &mut message[16..] {
                    for bit in (0..8).filter(|_| self.random.u32(..one_in) == 0) {
                        *byte ^= 1 << bit;
                        struck += 1;
                    }
                }
                Mangled { keeps: true, struck }
            }
            Tamper::Lose(percent) if self.random.u32(..100) < percent => return Mangled::LOST,
            Tamper::Lose(_) => Mangled::UNTOUCHED,
            Tamper::Shift(by) => {
                message[8..12].copy_from_slice(&timestamp.wrapping_add(by).to_be_bytes());
                Mangled::REWRITTEN
            }
            Tamper::Wrap => {
                let shift = *self.shift.get_or_insert(0u32.wrapping_sub(90_000).wrapping_sub(timestamp));
                let shifted = timestamp.wrapping_add(shift);
                message[8..12].copy_from_slice(&shifted.to_be_bytes());
                // Those behind the wrap.
                Mangled { keeps: true, struck: u64::from(shifted < 1 << 31) }
            }
            Tamper::Freeze => {
                message[8..12].copy_from_slice(&self.last_timestamp.to_be_bytes());
                Mangled { keeps: true, struck: u64::from(self.last_timestamp != timestamp) }
            }
            Tamper::Garbage => {
                self.random.fill(&mut message[16..]);
                Mangled::REWRITTEN
            }
        };
        if tamper != Tamper::Freeze {
            self.last_timestamp = timestamp;
        }
        mangled
    }

    fn mangle_report(message: &mut [u8], tamper: Tamper) -> Mangled {
        if let (Tamper::ClockAhead(by), [_, _, _, _, _, 200, ..]) = (tamper, &message[..]) {
            // The seconds of a sender report (RFC 3550 §6.4.1).
            let seconds = u32::from_be_bytes([message[12], message[13], message[14], message[15]]);
            message[12..16].copy_from_slice(&seconds.wrapping_add(by).to_be_bytes());
        }
        // A report would tell of a clock that the packets do not follow.
        let keeps = !matches!(tamper, Tamper::Shift(_) | Tamper::Wrap | Tamper::Freeze);
        Mangled { keeps, struck: 0 }
    }
}
