//! Whole pictures, or pieces of sound, from camshaft: through shared memory where both are in one pod, else over the
//! connection.

use std::io::{self, Read};
use std::time::Duration;

use crate::camera::Reach;
use crate::client::{Answer, Client, Failure};
use crate::raw::{Pictures, Raw};
use crate::shared::{PROTOCOL, SLOTS, Shared};
use crate::source::Wanted;

/// Where they come from.
pub enum Pieces {
    /// The body of an answer.
    Sent(Answer),
    /// Memory.
    Shared(Shared),
}

impl Pieces {
    /// Reads one piece, which has just the length of `piece`.
    ///
    /// # Errors
    /// Nothing whole comes.
    pub fn read(&mut self, piece: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Sent(answer) => answer.read_exact(piece),
            Self::Shared(shared) => shared.read(piece),
        }
    }
}

impl Wanted for Raw {
    type Media = Pieces;

    fn open(&self, client: &Client, stream: &str, within: Duration) -> Result<Pieces, Failure> {
        if let Self::Pictures(pictures) = self
            && client.reach() == Reach::Pod
            && let Some(shared) = open_shared(client, stream, pictures, within)?
        {
            return Ok(Pieces::Shared(shared));
        }
        let answer = client.open(&format!("{stream}/{}", self.request()), within)?;
        if let Self::Pictures(pictures) = self {
            check_size(answer.video_size.as_deref().unwrap_or("none"), pictures)?;
        }
        Ok(Pieces::Sent(answer))
    }
}

/// `None`: this camshaft shares no memory, or has none left, or it does not reach us.
fn open_shared(client: &Client, stream: &str, wanted: &Pictures, within: Duration) -> Result<Option<Shared>, Failure> {
    let path = format!("{stream}/live.shm?{}&slots={SLOTS}", wanted.parameters());
    let shared = match client.upgrade(&path, PROTOCOL, within) {
        Ok(socket) => Shared::start(socket),
        Err(Failure::Refused { kind, .. }) if kind != "unavailable" && kind != "auth_failed" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let Ok(shared) = shared else { return Ok(None) };
    let (width, height) = shared.size();
    check_size(&format!("{width}x{height}"), wanted)?;
    Ok(Some(shared))
}

fn check_size(made: &str, wanted: &Pictures) -> Result<(), Failure> {
    let asked = wanted.size();
    if made == asked {
        return Ok(());
    }
    Err(Failure::Away(io::Error::other(format!("it makes pictures of {made} where {asked} is due"))))
}
