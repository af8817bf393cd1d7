//! Single values: durations, sizes, counts, switches, addresses. Every error says what is allowed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::media::query::{parse_scaled, whole};

/// A value with a range.
pub(super) trait Quantity: Copy + PartialOrd {
    /// Reads `text`, which must lie from `min` to `max`.
    fn parse(text: &str, min: Self, max: Self) -> Result<Self, String>;

    /// As it is written in a configuration.
    fn show(self) -> String;
}

impl Quantity for Duration {
    fn parse(text: &str, min: Self, max: Self) -> Result<Self, String> {
        parse_duration(text).filter(|value| (min..=max).contains(value)).ok_or_else(|| {
            format!("must be a duration from {} to {}, such as 250ms, 10s, 5m or 1h", min.show(), max.show())
        })
    }

    fn show(self) -> String {
        match self.as_millis() {
            ms if ms % 1000 != 0 || ms == 0 => format!("{ms}ms"),
            ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
            ms => format!("{}s", ms / 1000),
        }
    }
}

/// Bytes.
impl Quantity for u64 {
    fn parse(text: &str, min: Self, max: Self) -> Result<Self, String> {
        parse_scaled(text, 1024).filter(|value| (min..=max).contains(value)).ok_or_else(|| {
            format!("must be a size in bytes from {} to {}, such as 64K, 16M or 1G", min.show(), max.show())
        })
    }

    fn show(self) -> String {
        match self {
            bytes if bytes == 0 || bytes % 1024 != 0 => bytes.to_string(),
            bytes if bytes % (1 << 30) == 0 => format!("{}G", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => format!("{}M", bytes >> 20),
            bytes => format!("{}K", bytes >> 10),
        }
    }
}

/// A count.
impl Quantity for u32 {
    fn parse(text: &str, min: Self, max: Self) -> Result<Self, String> {
        whole(text, min, max)
    }

    fn show(self) -> String {
        self.to_string()
    }
}

/// `250ms`, `10s`, `5m`, `1h`: a whole number and a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080".into())
}

/// Where a Unix socket may be: `sun_path` has 108 bytes with its end (unix(7)).
pub(super) fn parse_socket_path(text: &str) -> Result<PathBuf, String> {
    const LONGEST: usize = 107;
    if text.starts_with('/') && !text.ends_with('/') && text.len() <= LONGEST {
        return Ok(text.into());
    }
    Err(format!("must be an absolute path of at most {LONGEST} bytes, such as /run/camshaft/camshaft.sock"))
}

/// A file by its absolute path.
pub(super) fn parse_file(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') && !text.ends_with('/') {
        return Ok(text.into());
    }
    Err("must be the absolute path of a file, such as /run/secrets/camshaft-tokens".into())
}

/// An address, or `off`.
pub(super) fn parse_address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "off" => Ok(None),
        _ => parse_address(text).map(Some).map_err(|problem| format!("{problem}; or off")),
    }
}

/// One of `names`.
pub(super) fn parse_name<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("must be one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for text in ["250ms", "10s", "5m", "1h", "90s", "0ms"] {
            assert_eq!(parse_duration(text).map(Quantity::show).as_deref(), Some(text));
        }
        for bad in ["", "10", "s", "-1s", "1.5s", "1d", "1 s", "99999999999999999999s", "9999999999999999999h", "1S"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        let error = Duration::parse("2h", Duration::from_millis(250), Duration::from_secs(3600)).unwrap_err();
        assert!(error.contains("from 250ms to 1h"), "{error}");
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(u64::parse("16M", 0, u64::MAX), Ok(16 << 20));
        assert_eq!((64u64 << 10).show(), "64K");
        assert_eq!((3u64 << 29).show(), "1536M");
        assert!(u64::parse("1M", 2 << 20, 1 << 30).unwrap_err().contains("from 2M to 1G"));
    }
}
