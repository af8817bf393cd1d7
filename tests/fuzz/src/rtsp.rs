//! What RTSP clients send.

use camshaft::rtsp::target::Target;
use camshaft::rtsp::wire::{Inbound, Incoming, Refusal};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Bytes of a message.
const MESSAGE_MAX: usize = 4096;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// The same messages come out in whatever pieces they come in, none larger than the limit; their URLs are read or refused.
/// The first byte chooses the size of the pieces.
pub fn rtsp(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let whole = read_all(bytes, bytes.len().max(1));
    let pieces = read_all(bytes, usize::from(*first).max(1));
    assert_eq!(whole, pieces);
}

fn read_all(bytes: &[u8], piece: usize) -> (Vec<String>, Refusal) {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(piece);
            let mut incoming = Incoming::new(server, MESSAGE_MAX, Duration::from_secs(600));
            let send = async {
                // A reader that has given up takes no more.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut client, bytes).await;
                drop(client);
            };
            let receive = async {
                let mut seen = Vec::new();
                loop {
                    match incoming.next().await {
                        Ok(inbound) => seen.push(describe(&inbound)),
                        Err(refusal) => {
                            drop(incoming);
                            return (seen, refusal);
                        }
                    }
                }
            };
            tokio::join!(send, receive).1
        })
    })
}

fn describe(inbound: &Inbound) -> String {
    match inbound {
        Inbound::Request(request) => {
            assert!(request.body().len() <= MESSAGE_MAX);
            if let Some(url) = request.request_uri() {
                let _ = Target::parse(url);
            }
            format!("{request:?}")
        }
        other => format!("{other:?}"),
    }
}
