//! The localparts of user ids: what new ones may be, what old ones may be, and how other names become one.
//!
//! Spec: [User identifiers](https://spec.matrix.org/v1.19/appendices/#user-identifiers). Events take more, as
//! [`is_user_id`](super::is_user_id) does.

use std::fmt::Write;

/// Whether a new user may have this localpart: at least one of `a-z`, `0-9`, `.`, `_`, `=`, `-`, `/` and `+`.
pub fn is_localpart(localpart: &str) -> bool {
    !localpart.is_empty() && localpart.bytes().all(|byte| is_plain(byte) || matches!(byte, b'_' | b'='))
}

/// Whether this localpart, though perhaps historical, is shown to clients outside of events: not empty, and
/// all of it from U+0021 to U+007E without `:`.
pub fn is_compliant_localpart(localpart: &str) -> bool {
    !localpart.is_empty() && localpart.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// What becomes of upper-case letters in [`from_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `A` becomes `a`: names that differ in case alone are the same user's.
    Fold,
    /// `A` becomes `_a` and `_` becomes `__`, so that names that differ in case stay apart.
    Keep,
}

/// The localpart that the specification suggests for somebody of this name elsewhere: what the grammar does not
/// have, and `=`, is written as the hexadecimal bytes of its UTF-8, each after a `=`.
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

/// Whether the byte stands for itself, in the grammar and in the mapping.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'/' | b'+')
}

#[cfg(test)]
mod tests;
