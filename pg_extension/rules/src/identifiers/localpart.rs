//! The localparts of user ids: which ones new users may have, which older ones are valid, and how other names
//! are mapped to localparts.
//!
//! Spec: [User identifiers](https://spec.matrix.org/v1.19/appendices/#user-identifiers). Events may contain
//! still others: see [`is_user_id`](super::is_user_id).

use std::fmt::Write;

/// Whether a new user may have this localpart: at least one of `a-z`, `0-9`, `.`, `_`, `=`, `-`, `/` and `+`.
pub fn is_localpart(localpart: &str) -> bool {
    !localpart.is_empty() && localpart.bytes().all(|byte| is_plain(byte) || matches!(byte, b'_' | b'='))
}

/// Whether clients are shown a user with this localpart outside of events: it is not empty, and all its
/// characters are from U+0021 to U+007E and not `:`. Some such localparts are historical and not given to new
/// users.
pub fn is_compliant_localpart(localpart: &str) -> bool {
    !localpart.is_empty() && localpart.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// How [`from_name`] maps upper-case letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `A` becomes `a`: names that differ only in case give the same localpart.
    Fold,
    /// `A` becomes `_a` and `_` becomes `__`: names that differ only in case give different localparts.
    Keep,
}

/// The localpart that the specification suggests for a user of another system with this name. Characters that
/// the grammar does not allow, and `=`, are written as `=` and two hexadecimal digits for each of their UTF-8
/// bytes.
pub fn from_name(name: &str, case: Case) -> String {
    let mut localpart = String::with_capacity(name.len());
    for byte in name.bytes() {
        match (byte, case) {
            (b'A'..=b'Z' | b'_', Case::Keep) => {
                localpart.push('_');
                localpart.push(char::from(byte.to_ascii_lowercase()));
            }
            (b'A'..=b'Z' | b'_', Case::Fold) => localpart.push(char::from(byte.to_ascii_lowercase())),
            (plain, _) if is_plain(plain) => localpart.push(char::from(plain)),
            // Writing to a string cannot fail.
            (other, _) => drop(write!(localpart, "={other:02x}")),
        }
    }
    localpart
}

/// Whether the grammar allows the byte and the mapping leaves it unchanged.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'/' | b'+')
}

#[cfg(test)]
mod tests;
