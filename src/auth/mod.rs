//! Who may call: tokens of a file, each for some of what there is to do.
//!
//! HTTP takes a token as bearer (RFC 6750) or as the password of Basic (RFC 7617), RTSP as the password of its digest, with
//! any user name. What comes over the Unix socket needs none: its directory decides who comes in, and the configuration
//! which users of those.

mod tokens;
mod users;

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub use tokens::{Scope, Tokens};
pub use users::{User, UserRule, Users};

/// How long the answer to a wrong secret takes at least; at most twice that. Guessing is slow then, and who guesses holds
/// connections, of which there are few.
const PAUSE: Duration = Duration::from_millis(500);

/// How long this answer to a wrong secret is to take.
pub fn pause() -> Duration {
    PAUSE.mul_f64(1.0 + fastrand::f64())
}

/// Whom a server lets in.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody.
    Open,
    /// Who shows one of these, which may change at any time.
    Tokens(watch::Receiver<Arc<Tokens>>),
}

/// Whom each way in lets in.
#[derive(Clone, Debug)]
pub struct Doors {
    /// The ports.
    pub network: Access,
    /// The Unix socket.
    pub socket: Users,
}

/// What a caller has shown is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May do it.
    Welcome,
    /// Has shown nothing, or is nobody that is known.
    Unknown,
    /// Has shown what is no token.
    Wrong,
    /// Has shown a token for other things.
    Forbidden,
}

impl Access {
    /// Whether somebody who shows `secret` may do what `scope` covers.
    pub fn judge(&self, secret: Option<&str>, scope: Scope) -> Verdict {
        let Self::Tokens(tokens) = self else { return Verdict::Welcome };
        let Some(secret) = secret else { return Verdict::Unknown };
        match tokens.borrow().find(secret) {
            None => Verdict::Wrong,
            Some(token) if token.covers(scope) => Verdict::Welcome,
            Some(_) => Verdict::Forbidden,
        }
    }

    /// Whether `proves` holds for a token that covers `scope`; `None` where no token is needed. For schemes that show
    /// the knowledge of a password, but not the password.
    pub fn any_token(&self, scope: Scope, proves: impl Fn(&str) -> bool) -> Option<bool> {
        let Self::Tokens(tokens) = self else { return None };
        Some(tokens.borrow().iter().any(|token| token.covers(scope) && token.is(&proves)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_what_it_is_for_until_it_is_taken_away() {
        let of = |text| Arc::new(Tokens::parse(text).unwrap());
        let (sender, tokens) = watch::channel(of("frigate-0123456789 media:read\nowner-0123456789ab"));
        let access = Access::Tokens(tokens);
        let judge = |secret, scope| access.judge(secret, scope);
        assert_eq!(judge(None, Scope::MediaRead), Verdict::Unknown);
        assert_eq!(judge(Some("frigate-0123456780"), Scope::MediaRead), Verdict::Wrong);
        assert_eq!(judge(Some("frigate-0123456789"), Scope::MediaRead), Verdict::Welcome);
        assert_eq!(judge(Some("frigate-0123456789"), Scope::StreamsWrite), Verdict::Forbidden);
        assert_eq!(judge(Some("owner-0123456789ab"), Scope::Admin), Verdict::Welcome);
        assert_eq!(access.any_token(Scope::Admin, |token| token.starts_with("frigate")), Some(false));
        assert_eq!(access.any_token(Scope::MediaRead, |token| token.starts_with("frigate")), Some(true));
        sender.send_replace(of("owner-0123456789ab"));
        assert_eq!(judge(Some("frigate-0123456789"), Scope::MediaRead), Verdict::Wrong);
        assert_eq!(Access::Open.judge(None, Scope::Admin), Verdict::Welcome);
    }
}
