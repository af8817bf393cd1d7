//! Who may call over the Unix socket, with the numbers of those that are named.

use crate::auth::{User, UserRule, Users};
use crate::error::{Error, Result};

/// Where users have their names (passwd(5)).
const PASSWD: &str = "/etc/passwd";

/// Lets in whom `rules` list; everybody if there are none. Names count as they are now.
///
/// # Errors
/// If a name is nobody's: a list that leaves somebody out in silence would be looked for elsewhere.
pub fn users(rules: Option<&[UserRule]>) -> Result<Users> {
    let Some(rules) = rules else { return Ok(Users::All) };
    let is_named = rules.iter().any(|rule| matches!(rule.user, User::Name(_)));
    let passwd = if is_named { std::fs::read_to_string(PASSWD).unwrap_or_default() } else { String::new() };
    Users::resolve(rules, &passwd).map_err(|problem| Error::invalid(format!("server.unix_users: {problem}")))
}
