//! Limits: who goes past one is told so or ended, alone, and memory stays where it was. `docs/limits.md` lists every one.

mod api;
mod bombs;
mod floods;
mod memory;
mod mutants;
mod settings;
mod table;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Camshaft, Y4m, children, eventually};

/// A stream that must not notice anything.
const CLOCK: &str = "  clock: { source: \"test:?width=160&height=90&fps=25\" }\n";

/// Somebody who watches the clock all the time.
struct Bystander {
    numbers: Arc<Mutex<Vec<u32>>>,
    workers: (u32, u64),
}

/// Begins to watch.
fn bystander(server: &Camshaft) -> Bystander {
    let mut pictures = Y4m::new(server.open("/v1/streams/clock/live.y4m"));
    pictures.numbers(5);
    let numbers = Arc::<Mutex<Vec<u32>>>::default();
    let seen = numbers.clone();
    std::thread::spawn(move || {
        while let Some(picture) = pictures.next() {
            seen.lock().unwrap().extend(picture.number());
        }
    });
    Bystander { numbers, workers: workers(server) }
}

impl Bystander {
    /// Pictures still come, none twice and none back, from the same workers.
    fn assert_undisturbed(&self, server: &Camshaft) {
        let before = self.numbers.lock().unwrap().len();
        let more = || (self.numbers.lock().unwrap().len() >= before + 30).then_some(());
        eventually("thirty pictures come", || std::thread::sleep(Duration::from_millis(50)), more);
        let numbers = self.numbers.lock().unwrap();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert_eq!(workers(server), self.workers, "the clock's workers went");
    }
}

fn workers(server: &Camshaft) -> (u32, u64) {
    let status = server.status("clock");
    let restarts = ["pixels", "ingest"].map(|role| status["workers"][role]["restarts"].as_u64().unwrap_or(0));
    (server.pixels_pid("clock"), restarts.iter().sum())
}

/// A connection to the API.
fn connect(server: &Camshaft) -> TcpStream {
    let stream = TcpStream::connect(server.url("").trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// The status of the answer to `request`, which asks for the connection to be closed; 0 if there is none.
fn status_of(server: &Camshaft, request: &str) -> u16 {
    let mut stream = connect(server);
    // Whoever is refused early finds the connection closed.
    let _ = stream.write_all(request.as_bytes());
    read_status(&mut stream)
}

fn read_status(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::new();
    let _ = stream.take(1 << 20).read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Resident memory of a process in bytes.
fn resident(pid: u32) -> u64 {
    camshaft::link::usage(pid).map_or(0, |usage| usage.rss_bytes)
}

/// The largest of the service's workers.
fn largest_worker(server: &Camshaft) -> u64 {
    children(server.pid()).iter().map(|(pid, _)| resident(*pid)).max().unwrap_or(0)
}
