//! What media a URL asks for, in whatever form it travels.

use super::{Query, parse_policy};
use crate::media::query::{PARAMETERS, RenditionParams};
use crate::media::{AudioRequest, RenditionRequest};
use crate::plan::Policy;

/// What a URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// The camera's packets as they are.
    Copy,
    /// A rendition; `None`: by the stream's policy.
    Rendition(RenditionRequest, Option<Policy>),
    /// The camera's own packets, if they are JPEGs; else this rendition.
    CamerasOr(RenditionRequest),
    /// A rendition of the configuration.
    Named(String, Option<Policy>),
}

/// The parameters that are not a rendition's own.
const OTHERS: [&str; 3] = ["policy", "rendition", "audio"];

/// The parameters of media, each read by itself; together they may still contradict each other.
#[derive(Clone, Debug)]
pub struct MediaParams {
    /// `audio=`
    pub audio: Option<AudioRequest>,
    policy: Option<Policy>,
    name: Option<String>,
    rendition: RenditionParams,
}

impl MediaParams {
    /// Every parameter's name, long and short.
    pub fn names() -> Vec<&'static str> {
        let names = PARAMETERS.iter().flat_map(|(name, short)| [Some(*name), *short].into_iter().flatten());
        names.chain(OTHERS).collect()
    }

    /// Takes them out of `query`; nothing is left in it.
    pub fn take(query: &mut Query) -> Self {
        let policy = query.take("policy", parse_policy);
        let audio = query.take("audio", parse_audio);
        let name = query.take("rendition", parse_name);
        Self { audio, policy, name, rendition: query.take_rendition() }
    }

    /// A copy where nothing speaks of pictures, else as [`Self::rendition`].
    pub fn copy_or_rendition(
        self,
        query: &mut Query,
        make: impl FnOnce(&mut Query, &RenditionParams) -> Option<RenditionRequest>,
    ) -> Option<Media> {
        if self.name.is_none() && query.settle(self.rendition.copies())? {
            if self.policy.is_some() {
                let problem = "means nothing for a copy, as nothing is decoded: remove it, or add codec=h264";
                query.refuse("policy", problem);
            }
            return Some(Media::Copy);
        }
        self.rendition(query, make)
    }

    /// As [`Self::copy_or_rendition`] where `codec=copy` is said; where nothing is said, whatever is there at the least cost.
    pub fn copy_if_said_or_rendition(
        self,
        query: &mut Query,
        make: impl FnOnce(&mut Query, &RenditionParams) -> Option<RenditionRequest>,
    ) -> Option<Media> {
        let copies = self.name.is_none() && query.settle(self.rendition.copies())?;
        match (copies, self.rendition.codec, self.policy) {
            (true, Some(_), _) => self.copy_or_rendition(query, make),
            (true, None, None) => make(query, &self.rendition).map(Media::CamerasOr),
            _ => self.rendition(query, make),
        }
    }

    /// The rendition that is named, else the one that `make` finds in the parameters.
    pub fn rendition(
        self,
        query: &mut Query,
        make: impl FnOnce(&mut Query, &RenditionParams) -> Option<RenditionRequest>,
    ) -> Option<Media> {
        let Some(name) = self.name else {
            return Some(Media::Rendition(make(query, &self.rendition)?, self.policy));
        };
        if self.rendition != RenditionParams::default() {
            let problem = "names all there is to say: remove the parameters of pictures and encoding beside it";
            query.refuse("rendition", problem);
        }
        Some(Media::Named(name, self.policy))
    }
}

pub(super) fn parse_audio(text: &str) -> Result<AudioRequest, String> {
    let named = AudioRequest::ALL.iter().find(|(name, _)| *name == text);
    named.map(|(_, request)| *request).ok_or_else(|| {
        let names = AudioRequest::ALL.map(|(name, _)| name).join(", ");
        format!("must be one of {names}")
    })
}

fn parse_name(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=63).contains(&text.len()) && text.bytes().all(legal) {
        return Ok(text.to_owned());
    }
    Err("must be a name of the stream's renditions: 1 to 63 letters, digits, '-' or '_'".into())
}
