//! Consumers that take nothing, vanish or dawdle, and operators who make mistakes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::{Hurt, Row};
use crate::support::{Camera, Camshaft, Clip, Coding, Network, eventually};

/// Whole pictures of a stream: enough to fill what the kernel keeps for a connection within seconds.
const MUCH: &str = "/v1/streams/one/live.y4m";
const STALLED: &str = "camshaft_consumers_stalled_total{stream=\"one\"}";

/// Nobody but the consumer loses anything, so that there is no bound.
const fn row(fault: &'static str, inject: fn(&Option<Network>, &Bench) -> Instant) -> Row<Option<Network>> {
    Row { fault, hurt: Hurt::Nobody, bound: Duration::ZERO, inject }
}

const ROWS: &[Row<Option<Network>>] = &[
    row("consumer stalled", |_, bench| {
        let before = bench.counted(STALLED);
        let socket = ask(bench, MUCH);
        let closed = || (bench.counted(STALLED) > before).then_some(());
        eventually("who takes nothing is closed", || bench.server.log().pause(), closed);
        drop(socket);
        Instant::now()
    }),
    row("consumer half-open", |network, bench| {
        let Some(network) = network else { return Instant::now() };
        let consumers = |count: u64| {
            bench.server.wait_status("one", &format!("{count} consumers"), |status| status["consumers"] == count);
        };
        let before = bench.server.status("one")["consumers"].as_u64().unwrap();
        let gone = Mutex::new(Gone::reading(network, &bench.server.url(MUCH)));
        consumers(before + 1);
        bench.wait_pictures("one", 10);
        network.pull();
        consumers(before);
        network.plug();
        drop(gone);
        Instant::now()
    }),
    row("consumer of 1 byte/s", |_, bench| {
        let dropped = "camshaft_consumer_dropped_total{kind=\"pictures\",stream=\"one\"}";
        let before = bench.counted(dropped) + bench.counted(STALLED);
        let mut socket = ask(bench, MUCH);
        let mut last = Instant::now();
        let noticed = || {
            if last.elapsed() >= Duration::from_secs(1) {
                last = Instant::now();
                let _ = socket.read(&mut [0]);
            }
            (bench.counted(dropped) + bench.counted(STALLED) > before).then_some(())
        };
        eventually("what it does not take is counted", || bench.server.log().pause(), noticed);
        Instant::now()
    }),
    row("invalid reload", |_, bench| {
        let refused = "camshaft_config_loads_total{outcome=\"refused\"}";
        let good = std::fs::read_to_string(bench.server.config()).unwrap();
        std::fs::write(bench.server.config(), "streams: { one: { source: \"ftp://x\" }, two: [").unwrap();
        bench.server.wait_metric(refused, 1.0);
        std::fs::write(bench.server.config(), good).unwrap();
        bench.wait_pictures("one", 10);
        Instant::now()
    }),
];

/// Asks for `path` and reads no more than the status line; the window is small.
fn ask(bench: &Bench, path: &str) -> TcpStream {
    let url = bench.server.url(path);
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    socket.read_exact(&mut [0; 12]).unwrap();
    socket
}

/// A curl on another network.
struct Gone(Child);

impl Gone {
    fn reading(network: &Network, url: &str) -> Self {
        let mut curl = network.command("curl");
        Self(curl.args(["-sN", "-o", "/dev/null", url]).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn faults_of_consumers() {
    let network = Network::make();
    let clip = Clip::make(Coding::default());
    let camera = Camera::start(&clip, &[]);
    let test = "source: \"test:?width=320&height=180&fps=25&gop=25\"";
    let address = network.as_ref().map_or("127.0.0.1".to_owned(), Network::here);
    let server = Camshaft::start_at(
        &address,
        "limits: { stalled_consumer: 2s }",
        &format!(
            "  one: {{ {test} }}\n  two: {{ {test} }}\n  three: {{ {test} }}\n  cam: {{ source: \"{}\" }}\n",
            camera.url()
        ),
    );
    Bench::watch(server, &["one", "two", "three", "cam"]).run(&network, ROWS);
}

/// The faults that the rows inject.
pub fn faults() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.fault).collect()
}
