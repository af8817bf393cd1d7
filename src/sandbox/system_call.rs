//! System calls by name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use syscalls::Sysno;

/// A system call of this machine's architecture, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SystemCall(u32);

impl SystemCall {
    /// The call of this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> i64 {
        self.0.into()
    }

    /// Its name, if this version knows it.
    pub fn name(self) -> Option<&'static str> {
        Sysno::new(usize::try_from(self.0).ok()?).map(|call| call.name())
    }
}

impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "system call {}", self.0),
        }
    }
}

impl FromStr for SystemCall {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let call = name.parse::<Sysno>().map_err(|()| format!("'{name}' is no system call of this machine"))?;
        Ok(Self(call.id().unsigned_abs()))
    }
}
