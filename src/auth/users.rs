//! Who may call over the Unix socket: users, and what each is for. The kernel says who is at the other end (unix(7),
//! SO_PEERCRED), so that nothing needs to be shown.

use std::str::FromStr;
use std::sync::Arc;

use super::{Scope, Verdict};

/// A user as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By number.
    Id(u32),
    /// By the name that `/etc/passwd` has for it.
    Name(String),
}

/// A user, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRule {
    /// Who.
    pub user: User,
    /// What for.
    pub scopes: Vec<Scope>,
}

impl FromStr for UserRule {
    type Err = String;

    /// `1000`, `frigate`, `frigate media:read streams:read`: alone for everything.
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = || {
            let scopes = Scope::ALL.map(Scope::name).join(", ");
            format!("must be a user's name or number, alone or with some of {scopes} behind it, after blanks")
        };
        let mut words = text.split_whitespace();
        let user = match words.next().ok_or_else(allowed)? {
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                User::Id(number.parse().map_err(|_| allowed())?)
            }
            // What useradd takes, in short.
            name if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.$".contains(&byte)) => {
                User::Name(name.to_owned())
            }
            _ => return Err(allowed()),
        };
        let mut scopes = words.map(|word| word.parse().map_err(|_| allowed())).collect::<Result<Vec<_>, _>>()?;
        if scopes.is_empty() {
            scopes.push(Scope::Admin);
        }
        Ok(Self { user, scopes })
    }
}

/// Whom the Unix socket lets in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Users {
    /// Whoever may enter its directory.
    #[default]
    All,
    /// These, by number, for their scopes.
    Some(Arc<[(u32, Vec<Scope>)]>),
}

impl Users {
    /// Finds the numbers of users that are named, in a text such as `/etc/passwd` (passwd(5)).
    ///
    /// # Errors
    /// The name that is not there.
    pub fn resolve(rules: &[UserRule], passwd: &str) -> Result<Self, String> {
        let number = |user: &User| match user {
            User::Id(number) => Ok(*number),
            User::Name(name) => number_of(name, passwd).ok_or_else(|| {
                format!("/etc/passwd has no user '{name}': name one that it has, or give the user's number")
            }),
        };
        let rules = rules.iter().map(|rule| Ok((number(&rule.user)?, rule.scopes.clone())));
        Ok(Self::Some(rules.collect::<Result<_, String>>()?))
    }

    /// Whether user `uid` may do what `scope` covers; nobody knows who `None` is.
    pub fn judge(&self, uid: Option<u32>, scope: Scope) -> Verdict {
        let Self::Some(rules) = self else { return Verdict::Welcome };
        let own: Vec<_> = rules.iter().filter(|(user, _)| Some(*user) == uid).collect();
        match &own[..] {
            [] => Verdict::Unknown,
            own if own.iter().any(|(_, scopes)| scope.is_among(scopes)) => Verdict::Welcome,
            _ => Verdict::Forbidden,
        }
    }
}

fn number_of(name: &str, passwd: &str) -> Option<u32> {
    let mut users = passwd.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| if fields.next() == Some(name) { fields.nth(1)?.parse().ok() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_or_numbered_with_their_scopes() {
        let read = |text: &str| text.parse::<UserRule>();
        let rule = |user, scopes: &[Scope]| Ok(UserRule { user, scopes: scopes.to_vec() });
        assert_eq!(read("1000"), rule(User::Id(1000), &[Scope::Admin]));
        assert_eq!(
            read(" frigate  media:read streams:read "),
            rule(User::Name("frigate".into()), &[Scope::MediaRead, Scope::StreamsRead])
        );
        for wrong in ["", "4294967296", "a:b", "frigate media", "1000 media:read,streams:read", "-1 x"] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains("media:read, streams:read, streams:write, admin"), "{wrong}: {error}");
        }
    }

    #[test]
    fn each_does_what_it_is_for_and_strangers_nothing() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nfrigate:x:1000:1000::/:/bin/false\nbroken\n";
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<UserRule>>();
        let users = Users::resolve(&rules(&["frigate media:read", "1000 streams:read", "7"]), passwd).unwrap();
        let judge = |uid, scope| users.judge(uid, scope);
        assert_eq!(judge(Some(1000), Scope::MediaRead), Verdict::Welcome);
        assert_eq!(judge(Some(1000), Scope::StreamsRead), Verdict::Welcome);
        assert_eq!(judge(Some(1000), Scope::StreamsWrite), Verdict::Forbidden);
        assert_eq!(judge(Some(7), Scope::Admin), Verdict::Welcome);
        for stranger in [Some(0), Some(1001), None] {
            assert_eq!(judge(stranger, Scope::MediaRead), Verdict::Unknown, "{stranger:?}");
        }
        assert_eq!(Users::All.judge(None, Scope::Admin), Verdict::Welcome);
        let error = Users::resolve(&rules(&["frigat"]), passwd).unwrap_err();
        assert!(error.contains("no user 'frigat'"), "{error}");
    }
}
