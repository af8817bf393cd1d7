//! What workers say, and what they are told.

use camshaft::link::wire::{VERSION, receive, send};
use camshaft::link::{FromWorker, ToWorker};
use serde::{Serialize, de::DeserializeOwned};

/// Whatever is read as a message comes back the same when it is written and read again. The bytes are a stream of messages,
/// and one message without its header.
pub fn link(data: &[u8]) {
    let mut framed = vec![b'C', b'S', b'L', VERSION, 0, 0, 0, 0];
    framed.extend((data.len() as u32).to_le_bytes());
    framed.extend(0u32.to_le_bytes());
    framed.extend(data);
    for bytes in [data, &framed] {
        each_message::<FromWorker>(bytes);
        each_message::<ToWorker>(bytes);
    }
}

fn each_message<M: Serialize + DeserializeOwned>(mut bytes: &[u8]) {
    while let Ok(Some((message, payload))) = receive::<M>(&mut bytes) {
        let written = write(&message, &payload);
        let (again, same_payload) = receive::<M>(&mut &written[..]).unwrap().expect("a whole message");
        assert_eq!(payload, same_payload);
        assert_eq!(written, write(&again, &payload));
    }
}

fn write<M: Serialize>(message: &M, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    send(&mut bytes, message, payload).expect("what was read within the limits is within them");
    bytes
}
