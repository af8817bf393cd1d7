//! Files, opened beneath a directory that the configuration lists, and read again and again.

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use tokio::net::unix::OwnedWriteHalf;

use crate::ingest::failure::{End, Failure};
use crate::link::wire::send_async;
use crate::link::{FailureKind, FromWorker, MAX_CHUNK};
use crate::media::Container;

/// Opens `path`, which must lie in one of `directories` whatever links are on the way.
pub(super) fn open(path: &str, directories: &[String]) -> Result<File, Failure> {
    let within = |directory: &String| Some((directory.clone(), Path::new(path).strip_prefix(directory).ok()?));
    let Some((directory, rest)) = directories.iter().find_map(within) else {
        return Err(Failure::new(FailureKind::Denied, "the file is in no directory that sources.files lists"));
    };
    let refused = |error: std::io::Error| {
        let (kind, why) = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::XDEV) => {
                (FailureKind::Denied, "a link on its path leads out of the directory in sources.files".to_owned())
            }
            _ => (FailureKind::Refused, error.to_string()),
        };
        Failure::new(kind, format!("the file cannot be opened: {why}"))
    };
    let directory = File::open(directory).map_err(refused)?;
    // NONBLOCK: the open of a pipe that nobody writes would not return.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat2(&directory, rest, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
        .map_err(|errno| refused(errno.into()))?;
    let stat = fstat(&file).map_err(|errno| refused(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Failure::new(FailureKind::Refused, "what is at the path is no file"));
    }
    Ok(file.into())
}

/// Sends the file's bytes again and again, as fast as they are taken.
pub(super) async fn read(mut file: File, container: Container, link: &mut OwnedWriteHalf) -> End {
    match send_forever(&mut file, container, link).await {
        Ok(end) => end,
        Err(error) => End::Link(error),
    }
}

async fn send_forever(file: &mut File, container: Container, link: &mut OwnedWriteHalf) -> std::io::Result<End> {
    let failed = |what: &str, error: std::io::Error| {
        End::from(Failure::new(FailureKind::Ended, format!("the file cannot be {what}: {error}")))
    };
    let mut chunk = vec![0; MAX_CHUNK];
    send_async(link, &FromWorker::Container(container), &[]).await?;
    loop {
        let mut total = 0;
        loop {
            match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => {
                    total += length;
                    send_async(link, &FromWorker::Bytes, chunk.get(..length).unwrap_or_default()).await?;
                }
                Err(error) => return Ok(failed("read", error)),
            }
        }
        if total == 0 {
            return Ok(Failure::new(FailureKind::Ended, "the file is empty").into());
        }
        send_async(link, &FromWorker::EndOfBytes, &[]).await?;
        if let Err(error) = file.seek(SeekFrom::Start(0)) {
            return Ok(failed("read again", error));
        }
    }
}
