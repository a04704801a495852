//! User names. Appendices, "User Identifiers".

#[cfg(test)]
mod tests;

use axum::http::StatusCode;
use matriarch_rules::identifiers::{MAX_ID_BYTES, localpart::is_localpart};
use rand::RngExt;

use crate::base::error::ApiError;

/// The full id of a localpart.
pub fn user_id(localpart: &str, server_name: &str) -> String {
    format!("@{localpart}:{server_name}")
}

/// The localpart of a new user who requests `username`: in lower case, since the grammar has no upper case.
///
/// Fails with 400 `M_INVALID_USERNAME` if it does not fit the grammar.
pub fn new_localpart(username: &str, server_name: &str) -> Result<String, ApiError> {
    let invalid =
        |message: &'static str| ApiError::new(StatusCode::BAD_REQUEST, "M_INVALID_USERNAME", message);
    let localpart = username.to_ascii_lowercase();
    if localpart.is_empty() {
        return Err(invalid("The user name is empty"));
    }
    if !is_localpart(&localpart) {
        return Err(invalid("A user name consists of the characters a-z, 0-9, and ._=-/+"));
    }
    if user_id(&localpart, server_name).len() > MAX_ID_BYTES {
        return Err(invalid("The user name is too long: a user id has at most 255 bytes"));
    }
    Ok(localpart)
}

/// A localpart for a user who did not request one.
pub fn generated_localpart() -> String {
    const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..12).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// The user ids that a login as `user`, a full id or a localpart, may mean. The first is the name as given,
/// since historical names may have upper case; the second is in lower case. `None` for remote users and
/// invalid names.
pub fn login_candidates(user: &str, server_name: &str) -> Option<[String; 2]> {
    let localpart = match user.strip_prefix('@') {
        Some(rest) => {
            let (localpart, server) = rest.split_once(':')?;
            (server == server_name).then_some(localpart)?
        }
        None => user,
    };
    if localpart.contains(['\0', ':']) || localpart.len() > MAX_ID_BYTES {
        return None;
    }
    Some([user_id(localpart, server_name), user_id(&localpart.to_ascii_lowercase(), server_name)])
}
