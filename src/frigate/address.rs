//! Addresses as Frigate and go2rtc have them, with their variables.

use percent_encoding::percent_decode_str;

/// What a variable is within a [`Template`]: a character of a private plane, so that it stays whole and in its place.
const FIRST: u32 = 0xE000;
const MOST: usize = 0x1000;

/// A text with `{FRIGATE_…}` in it (Python's `str.format`, by which Frigate puts values in).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    names: Vec<String>,
}

impl Template {
    /// # Errors
    /// A brace that Frigate could not replace.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut out, mut names) = (String::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            rest = after;
            if let Some(after) = rest.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
                continue;
            }
            let inner = rest.split_once('}').filter(|_| brace == "{");
            let (name, after) = inner.ok_or("has a single brace; Frigate wants '{{' or '}}' for one")?;
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !name.starts_with("FRIGATE_") || !is_name || names.len() == MOST {
                return Err(
                    "has braces around something else than a variable FRIGATE_…; Frigate replaces only those".into()
                );
            }
            out.extend(char::from_u32(FIRST + names.len() as u32));
            names.push(name.to_owned());
            rest = after;
        }
        out.push_str(rest);
        Ok(Self { text: out, names })
    }

    /// A part of the text as camshaft's configuration has it: `${FRIGATE_…}`, and `$$` for a dollar.
    fn camshaft(&self, part: &str) -> String {
        let mut out = String::new();
        for c in part.chars() {
            match (c as u32).checked_sub(FIRST).and_then(|n| self.names.get(n as usize)) {
                Some(name) => out += &format!("${{{name}}}"),
                None if c == '$' => out.push_str("$$"),
                None => out.push(c),
            }
        }
        out
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Who writes an address down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// `path:` of an input: a password may have any characters.
    Frigate,
    /// A source of go2rtc: a URL, and `#` parameters behind it.
    Go2rtc,
}

/// A URL, its parts as camshaft's configuration has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Without brackets.
    pub host: String,
    pub port: Option<String>,
    /// Path and query, from the slash on.
    pub path: String,
    /// What stands behind `#`: `name=value`, one by one.
    pub parameters: Vec<String>,
    /// Whether the password's meaning depends on whether `%` begins an escape.
    pub is_escaped: bool,
}

impl Address {
    /// # Errors
    /// Why it is no address.
    pub fn parse(text: &str, writer: Writer) -> Result<Self, String> {
        let template = Template::parse(text)?;
        let (scheme, rest) = template.text().split_once("://").ok_or("is no URL: it has no '://'")?;
        let (rest, parameters) = match (writer, rest.split_once('#')) {
            (Writer::Go2rtc, Some((rest, parameters))) => (rest, parameters.split('#').map(str::to_owned).collect()),
            _ => (rest, Vec::new()),
        };
        let (login, rest) = split_login(rest, writer)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = split_port(authority);
        if host.is_empty() {
            return Err("names no host".into());
        }
        let plain = |text: &str| template.camshaft(&percent_decode_str(text).decode_utf8_lossy());
        let login = login.map(|login| login.split_once(':').unwrap_or((login, "")));
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            login: login.map(|(user, password)| (plain(user), plain(password))),
            host: template.camshaft(host),
            port: port.map(|port| template.camshaft(port)),
            path: template.camshaft(path).replace('#', "%23"),
            parameters,
            is_escaped: login.is_some_and(|(_, password)| password.contains('%')),
        })
    }

    /// Whether it is this machine by its name.
    pub fn is_loopback(&self) -> bool {
        matches!(self.host.as_str(), "127.0.0.1" | "localhost" | "::1" | "0.0.0.0")
    }

    /// The URL without user name and password.
    pub fn url(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.as_ref().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.scheme, self.path)
    }

    /// The last part of the path without its query: a stream's name.
    pub fn name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.trim_matches('/')
    }

    /// The value of a parameter of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        let query = self.path.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// User name and password, and what follows their `@`. In a file of Frigate's a password may hold slashes and `@`.
fn split_login(rest: &str, writer: Writer) -> Result<(Option<&str>, &str), String> {
    let slash = rest.find(['/', '?']).unwrap_or(rest.len());
    let query = rest.find('?').unwrap_or(rest.len());
    let at = match (rest[..slash].rfind('@'), rest[slash..query.max(slash)].rfind('@')) {
        (Some(at), None) => at,
        (Some(at), Some(_)) if writer == Writer::Go2rtc => at,
        (Some(_), Some(_)) => {
            return Err("has an '@' on either side of a '/': write those of the password as %40".into());
        }
        (None, Some(at)) if writer == Writer::Frigate => slash + at,
        (None, _) => return Ok((None, rest)),
    };
    Ok((Some(&rest[..at]), &rest[at + 1..]))
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frigate(text: &str) -> Address {
        Address::parse(text, Writer::Frigate).unwrap()
    }

    #[test]
    fn logins_and_variables() {
        let address = frigate("rtsp://{FRIGATE_USER}:{FRIGATE_PASSWORD}@10.0.0.1:554/a?b=c@d");
        let login = Some(("${FRIGATE_USER}".to_owned(), "${FRIGATE_PASSWORD}".to_owned()));
        assert_eq!((address.url().as_str(), address.login), ("rtsp://10.0.0.1:554/a?b=c@d", login));
        let login = |text: &str| frigate(text).login.unwrap();
        assert_eq!(login("rtsp://u:p/ss@w0rd#$@h/s"), ("u".into(), "p/ss@w0rd#$$".into()));
        assert_eq!(login("rtsp://u:%40%7B@h/s"), ("u".into(), "@{".into()));
        assert_eq!(login("rtsp://u@h/s"), ("u".into(), String::new()));
        assert_eq!(frigate("rtsp://[fd00::1]:8554/a#b").url(), "rtsp://[fd00::1]:8554/a%23b");
        assert_eq!(frigate("http://{FRIGATE_HOST}/{{x}}").url(), "http://${FRIGATE_HOST}/{x}");
        for bad in
            ["rtsp://{PASSWORD}@h/", "rtsp://h/{", "rtsp:///x", "rtsp://u:p@ss/w@h/s", "/dev/video0", "rtsp://h/}"]
        {
            assert!(Address::parse(bad, Writer::Frigate).is_err(), "{bad}");
        }
    }

    #[test]
    fn go2rtc_has_parameters_behind() {
        let address = Address::parse("rtsp://u:p@h/s#backchannel=0#timeout=30", Writer::Go2rtc).unwrap();
        assert_eq!((address.url().as_str(), address.parameters.len()), ("rtsp://h/s", 2));
    }
}
