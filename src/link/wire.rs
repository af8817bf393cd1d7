//! Framing: messages to bytes and back, blocking for workers and async for the supervisor.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, Read, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: [u8; 3] = *b"CSL";
/// The protocol's version; both programs come from one build, so any other is refused.
pub const VERSION: u8 = 1;
const HEADER: usize = 16;
/// The largest message without its payload, in bytes.
pub const MAX_META: usize = 64 << 10;
/// The largest payload in bytes: a 17 Mpx RGB picture has 51 MB.
pub const MAX_PAYLOAD: usize = 64 << 20;

struct Lengths {
    meta: usize,
    payload: usize,
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

fn check_header(header: &[u8; HEADER]) -> io::Result<Lengths> {
    let [m0, m1, m2, version, descriptors, _, _, _, a, b, c, d, e, f, g, h] = *header;
    if [m0, m1, m2] != MAGIC || version != VERSION {
        return Err(invalid(format!("not a link message of version {VERSION}")));
    }
    if descriptors != 0 {
        return Err(invalid("version 1 of the link carries no descriptors"));
    }
    let length = |bytes| u32::from_le_bytes(bytes) as usize;
    let lengths = Lengths { meta: length([a, b, c, d]), payload: length([e, f, g, h]) };
    if lengths.meta > MAX_META || lengths.payload > MAX_PAYLOAD {
        return Err(invalid(format!("message of {} + {} bytes is over the limit", lengths.meta, lengths.payload)));
    }
    Ok(lengths)
}

fn head<M: Serialize>(message: &M, payload: usize) -> io::Result<Vec<u8>> {
    let mut out = postcard::to_extend(message, vec![0u8; HEADER]).map_err(|error| invalid(error.to_string()))?;
    let meta = out.len() - HEADER;
    if meta > MAX_META || payload > MAX_PAYLOAD {
        return Err(invalid(format!("message of {meta} + {payload} bytes is over the limit")));
    }
    let [m0, m1, m2] = MAGIC;
    let ([a, b, c, d], [e, f, g, h]) = ((meta as u32).to_le_bytes(), (payload as u32).to_le_bytes());
    if let Some(header) = out.first_chunk_mut::<HEADER>() {
        *header = [m0, m1, m2, VERSION, 0, 0, 0, 0, a, b, c, d, e, f, g, h];
    }
    Ok(out)
}

fn parse<M: DeserializeOwned>(meta: &[u8]) -> io::Result<M> {
    let (message, rest) = postcard::take_from_bytes(meta).map_err(|error| invalid(error.to_string()))?;
    if rest.is_empty() { Ok(message) } else { Err(invalid("bytes left over behind the message")) }
}

/// Writes one message, blocking until the whole of it is handed over.
///
/// # Errors
/// Those of the writer; [`io::ErrorKind::InvalidData`] if the message is over the limits.
pub fn send<M: Serialize>(writer: &mut impl Write, message: &M, payload: &[u8]) -> io::Result<()> {
    let head = head(message, payload.len())?;
    let mut slices = [IoSlice::new(&head), IoSlice::new(payload)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match writer.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one message and its payload; `None` when the other end has closed.
///
/// # Errors
/// Those of the reader; [`io::ErrorKind::InvalidData`] for anything that is no message within the limits.
pub fn receive<M: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(M, Bytes)>> {
    let mut header = [0; HEADER];
    match reader.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let lengths = check_header(&header)?;
    let mut body = BytesMut::zeroed(lengths.meta + lengths.payload);
    reader.read_exact(&mut body)?;
    let meta = body.split_to(lengths.meta);
    Ok(Some((parse(&meta)?, body.freeze())))
}

/// [`send`] for the async side.
///
/// # Errors
/// As [`send`].
pub async fn send_async<M: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &M,
    payload: &[u8],
) -> io::Result<()> {
    writer.write_all(&head(message, payload.len())?).await?;
    writer.write_all(payload).await
}

/// [`receive`] for the async side.
///
/// # Errors
/// As [`receive`].
pub async fn receive_async<M: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(M, Bytes)>> {
    let mut header = [0; HEADER];
    match reader.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let lengths = check_header(&header)?;
    let total = lengths.meta + lengths.payload;
    // Filled as bytes arrive, never zeroed first: raw pictures are megabytes.
    let mut body = BytesMut::with_capacity(total);
    let mut limited = reader.take(total as u64);
    while body.len() < total {
        if limited.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let meta = body.split_to(lengths.meta);
    Ok(Some((parse(&meta)?, body.freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{FromWorker, ToWorker};
    use proptest::prelude::*;

    #[test]
    fn a_message_comes_back_with_its_payload() {
        let mut bytes = Vec::new();
        send(&mut bytes, &FromWorker::Lost { packets: 7 }, b"payload").unwrap();
        send(&mut bytes, &FromWorker::Drained, b"").unwrap();
        let mut reader = &bytes[..];
        let (message, payload) = receive::<FromWorker>(&mut reader).unwrap().unwrap();
        assert!(matches!(message, FromWorker::Lost { packets: 7 }));
        assert_eq!(&payload[..], b"payload");
        assert!(matches!(receive::<FromWorker>(&mut reader).unwrap(), Some((FromWorker::Drained, _))));
        assert!(receive::<FromWorker>(&mut reader).unwrap().is_none());
    }

    #[test]
    fn lengths_are_capped_before_anything_is_allocated() {
        let mut bytes = Vec::new();
        send(&mut bytes, &ToWorker::Stop, b"").unwrap();
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(receive::<ToWorker>(&mut &bytes[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        bytes[4] = 1;
        assert!(receive::<ToWorker>(&mut &bytes[..]).unwrap_err().to_string().contains("descriptors"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = Vec::new();
            framed.extend_from_slice(b"CSL\x01\0\0\0\0");
            framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            framed.extend_from_slice(&0u32.to_le_bytes());
            framed.extend_from_slice(&bytes);
            let _ = receive::<FromWorker>(&mut &framed[..]);
            let _ = receive::<ToWorker>(&mut &framed[..]);
            let _ = receive::<FromWorker>(&mut &bytes[..]);
        }
    }
}
