//! The token file: a token a line, and what it is for.

use secrecy::{ExposeSecret, SecretString};
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// Shorter ones are guessed.
const SHORTEST: usize = 16;
const LONGEST: usize = 512;

/// What a token may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `media:read`: live media, pictures, transcodes.
    MediaRead,
    /// `streams:read`: status, plans, devices, events.
    StreamsRead,
    /// `streams:write`: streams are made, changed, fed and removed.
    StreamsWrite,
    /// `admin`: everything, and what touches a device for all.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MediaRead, Self::StreamsRead, Self::StreamsWrite, Self::Admin];

    /// Whether one of `scopes` covers it.
    pub fn is_among(self, scopes: &[Self]) -> bool {
        scopes.contains(&self) || scopes.contains(&Self::Admin)
    }

    /// As it stands in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::MediaRead => "media:read",
            Self::StreamsRead => "streams:read",
            Self::StreamsWrite => "streams:write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        // What is no scope may be a part of a token.
        found.ok_or_else(|| format!("after the token may stand some of {names}, separated by commas"))
    }
}

/// One token. Never printed.
#[derive(Debug)]
pub struct Token {
    secret: SecretString,
    scopes: Vec<Scope>,
}

impl Token {
    /// Whether it is for `scope`.
    pub fn covers(&self, scope: Scope) -> bool {
        scope.is_among(&self.scopes)
    }

    /// What `proves` says of the secret.
    pub fn is(&self, proves: impl Fn(&str) -> bool) -> bool {
        proves(self.secret.expose_secret())
    }
}

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads a file: a line is a token, alone or with a blank and scopes after it; alone it is for everything. Lines that
    /// are empty or start with `#` are skipped.
    ///
    /// # Errors
    /// With the number of the line, never with what stands there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let tokens = lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| parse_line(line).map_err(|problem| format!("line {number}: {problem}")))
            .collect::<Result<Vec<_>, _>>()?;
        if tokens.is_empty() {
            return Err("there is no token in it: write one a line, such as what `openssl rand -hex 32` prints".into());
        }
        Ok(Self(tokens))
    }

    /// The token that `secret` is. Takes as long whichever it is, and whether it is one or none.
    pub fn find(&self, secret: &str) -> Option<&Token> {
        let same = |token: &Token| bool::from(token.secret.expose_secret().as_bytes().ct_eq(secret.as_bytes()));
        self.0.iter().fold(None, |found, token| if same(token) { Some(token) } else { found })
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }
}

fn parse_line(line: &str) -> Result<Token, String> {
    let (secret, scopes) = line.split_once(char::is_whitespace).unwrap_or((line, "admin"));
    if !(SHORTEST..=LONGEST).contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("a token is {SHORTEST} to {LONGEST} printable ASCII characters without blanks"));
    }
    let scopes = scopes.split(',').map(|scope| scope.trim().parse()).collect::<Result<_, String>>()?;
    Ok(Token { secret: secret.to_owned().into(), scopes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_its_mistakes_are_named_without_their_secrets() {
        let tokens =
            Tokens::parse("# mine\n\n  0123456789abcdef  \nfedcba9876543210 media:read, streams:read\n").unwrap();
        let covered = |secret| Scope::ALL.map(|scope| tokens.find(secret).unwrap().covers(scope));
        assert_eq!(covered("0123456789abcdef"), [true; 4]);
        assert_eq!(covered("fedcba9876543210"), [true, true, false, false]);
        assert!(tokens.find("fedcba987654321").is_none() && tokens.find("").is_none());
        assert!(!format!("{tokens:?}").contains("0123456789abcdef"));
        for (text, said) in [
            ("", "no token"),
            ("# nothing\n", "no token"),
            ("0123456789abcdef\nhunter2", "line 2: a token is 16 to 512"),
            ("0123456789abcdef hunter2", "line 1: after the token may stand some of media:read, streams:read"),
            ("0123456789abcdéf", "printable ASCII"),
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
    }
}
