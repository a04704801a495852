//! Device keys, one-time keys and fallback keys. Client-Server API, "Uploading keys".

pub mod claim;
mod one_time;
pub mod query;
mod upload;

use std::collections::BTreeSet;

use matriarch_rules::{Map, canonical_json::check_object, identifiers::server_name};
use serde_json::{Value, json};

pub use self::{
    one_time::{Counts, unused_fallback_types},
    query::{cross_signing_of, of_device},
    upload::{Upload, store},
};
use crate::base::response::{MatrixError, Result};

/// The part of an object that its signatures cover.
pub fn unsigned_form(mut object: Map) -> Map {
    object.remove("signatures");
    object.remove("unsigned");
    object
}

/// Whether this is a valid `signatures` of a key: signatures by key id by user id.
pub fn is_signatures(value: &Value) -> bool {
    value.as_object().is_some_and(|signers| {
        signers.values().all(|keys| keys.as_object().is_some_and(|keys| keys.values().all(Value::is_string)))
    })
}

/// The limit of events. Many keys may be returned in one response.
const MAX_KEY_BYTES: usize = 65_536;

/// Checks the length of a key as JSON text. 413 `M_TOO_LARGE` if it is too long.
pub fn require_size(key: &str) -> Result<()> {
    if key.len() <= MAX_KEY_BYTES {
        Ok(())
    } else {
        Err(MatrixError::new(413, "M_TOO_LARGE", "A key is longer than 65536 bytes."))
    }
}

/// Checks that other servers and clients can verify a key: 400 `M_BAD_JSON` for a number that canonical JSON
/// does not have. Client-Server API, "Signing JSON".
pub fn require_canonical(key: &Map) -> Result<()> {
    check_object(key).map_err(|error| MatrixError::bad_json(format!("A key cannot be signed: {error}.")))
}

/// `failures` of an answer: the servers of these users cannot be asked, as there is no federation.
fn failures(user_ids: BTreeSet<&str>) -> Map {
    let failure = json!({ "errcode": "M_UNAVAILABLE", "error": "The server cannot be reached." });
    user_ids.into_iter().filter_map(server_name).map(|server| (server.to_owned(), failure.clone())).collect()
}
