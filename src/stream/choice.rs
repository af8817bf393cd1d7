//! Which of a camera's two streams a picture is made from: the substream if the picture is whole and no larger than the
//! substream's on either side, else the main stream. While the substream is away, the main stream.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::consumer::Demand;
use super::feed::Feed;
use super::pixels::Command;
use super::rendition::RenditionKey;
use super::status::State;
use super::{SoundRequest, Stream};
use crate::error::Result;
use crate::media::{AudioRequest, Crop, Geometry, RenditionRequest, StillSpec};

/// How often it is looked at whether what is kept warm is to be made of the other one.
const TICK: Duration = Duration::from_millis(250);

/// What a picture is to look like, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Part of the main stream's picture.
    pub crop: Option<Crop>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
}

/// What a picture is made from.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// The source.
    pub feed: &'a Feed,
    /// The size to ask it for, where the one asked for is that of another source's pictures.
    pub size: Option<Geometry>,
    /// Keeps the source connected.
    pub demand: Demand,
}

/// What the rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The main stream.
    Main,
    /// The substream, in this size: its pictures may have another shape than the main stream's.
    Detect(Geometry),
    /// The main stream's shape is not known yet.
    Open,
}

impl From<&RenditionRequest> for Wanted {
    fn from(request: &RenditionRequest) -> Self {
        Self { crop: request.crop, width: request.width, height: request.height }
    }
}

impl From<&StillSpec> for Wanted {
    fn from(spec: &StillSpec) -> Self {
        Self { crop: spec.crop, width: spec.width, height: spec.height }
    }
}

impl Wanted {
    fn is_for_main_only(self) -> bool {
        self.crop.is_some() || self.width.is_none() && self.height.is_none()
    }

    fn choice(self, main: Option<Geometry>, detect: Geometry) -> Choice {
        let size = match (self.width, self.height, main) {
            _ if self.is_for_main_only() => return Choice::Main,
            (Some(width), Some(height), _) => Geometry::new(width, height),
            (_, _, None) => return Choice::Open,
            (width, height, Some(main)) => main.scaled_to(width, height),
        };
        let fits = size.width <= detect.width && size.height <= detect.height;
        if fits { Choice::Detect(size) } else { Choice::Main }
    }
}

impl Stream {
    /// What a picture like this is made from, which has media now.
    ///
    /// # Errors
    /// As [`Feed::wait_live`].
    pub(super) async fn choose(&self, wanted: Wanted) -> Result<Chosen<'_>> {
        if let Some(chosen) = self.choose_detect(wanted).await? {
            return Ok(chosen);
        }
        let (feed, demand) = (self.main.as_ref(), self.main.demand());
        feed.wait_live().await?;
        Ok(Chosen { feed, size: None, demand })
    }

    /// The same for pictures with sound, which comes from the same source: the main stream where only that has any.
    pub(super) async fn choose_with(&self, wanted: Wanted, sound: Option<SoundRequest>) -> Result<Chosen<'_>> {
        let chosen = self.choose(wanted).await?;
        let is_wanted = sound.is_some_and(|sound| sound.audio != AudioRequest::None);
        if is_wanted && chosen.feed.audio().is_none() && self.main.audio().is_some() {
            self.main.wait_live().await?;
            return Ok(Chosen { feed: &self.main, size: None, demand: self.main.demand() });
        }
        Ok(chosen)
    }

    async fn choose_detect(&self, wanted: Wanted) -> Result<Option<Chosen<'_>>> {
        let Some(feed) = self.detect.as_deref().filter(|_| !wanted.is_for_main_only()) else { return Ok(None) };
        let demand = feed.demand();
        if !feed.is_there().await {
            return Ok(None);
        }
        let Some(size) = feed.size() else { return Ok(None) };
        let choice = match wanted.choice(self.main.size(), size) {
            Choice::Open => {
                self.main.wait_live().await?;
                wanted.choice(self.main.size(), size)
            }
            settled => settled,
        };
        Ok(match choice {
            Choice::Detect(size) => Some(Chosen { feed, size: Some(size), demand }),
            Choice::Main | Choice::Open => None,
        })
    }
}

/// Keeps `warm` renditions warm in the source that they are made from, until the stream ends. When the substream has been
/// away for `hold`, that is the main stream; when it comes back, they return.
pub async fn keep_warm(
    main: Arc<Feed>,
    detect: Arc<Feed>,
    warm: Vec<RenditionKey>,
    hold: Duration,
    cancel: CancellationToken,
) {
    let mut tick = tokio::time::interval(TICK);
    let mut left = (Instant::now(), false);
    let mut kept = None;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let is_live = detect.facts.state() == State::Live;
        if is_live {
            left = (Instant::now(), true);
        }
        let (since, was_live) = left;
        let detect_size = detect.size().filter(|_| is_live);
        if detect_size.is_none() && since.elapsed() < hold && (was_live || !detect.is_away()) {
            continue;
        }
        let places = divide(&warm, main.size(), detect_size);
        if kept.as_ref() == Some(&places) {
            continue;
        }
        let (for_main, for_detect) = places.clone();
        let told = [(&main, for_main), (&detect, for_detect)];
        if told.into_iter().any(|(feed, keys)| feed.pixels.send(Command::KeepWarm(keys)).is_err()) {
            return;
        }
        kept = Some(places);
    }
}

/// What is made of the main stream and what of the substream, whose size is `None` while it is away.
fn divide(
    warm: &[RenditionKey],
    main: Option<Geometry>,
    detect: Option<Geometry>,
) -> (Vec<RenditionKey>, Vec<RenditionKey>) {
    let (mut of_main, mut of_detect) = (Vec::new(), Vec::new());
    for key in warm {
        match detect.map_or(Choice::Main, |detect| Wanted::from(&key.request).choice(main, detect)) {
            Choice::Main => of_main.push(*key),
            Choice::Detect(size) => of_detect.push(RenditionKey { request: sized(key.request, Some(size)), ..*key }),
            Choice::Open => {}
        }
    }
    (of_main, of_detect)
}

/// The request with its size replaced, if another is given.
pub fn sized(request: RenditionRequest, size: Option<Geometry>) -> RenditionRequest {
    let Some(Geometry { width, height }) = size else { return request };
    RenditionRequest { width: Some(width), height: Some(height), ..request }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_pictures_that_fit_into_the_substream_are_made_from_it() {
        let (main, detect) = (Geometry::new(1920, 1080), Geometry::new(704, 576));
        let choice = |width, height| Wanted { crop: None, width, height }.choice(Some(main), detect);
        assert_eq!(choice(Some(640), Some(360)), Choice::Detect(Geometry::new(640, 360)));
        assert_eq!(choice(Some(704), Some(576)), Choice::Detect(detect));
        assert_eq!(choice(Some(706), Some(100)), Choice::Main);
        assert_eq!(choice(Some(100), Some(578)), Choice::Main);
        assert_eq!(choice(None, None), Choice::Main);
        // The shape is the main stream's, whatever the camera does to its substream.
        assert_eq!(choice(Some(640), None), Choice::Detect(Geometry::new(640, 360)));
        assert_eq!(choice(None, Some(400)), Choice::Main);
        let crop = Some(Crop { width: 64, height: 64, x: 0, y: 0 });
        let cropped = Wanted { crop, width: Some(64), height: Some(64) };
        assert_eq!(cropped.choice(Some(main), detect), Choice::Main);
        let narrow = Wanted { crop: None, width: Some(64), height: None };
        assert_eq!(narrow.choice(None, detect), Choice::Open);
    }
}
