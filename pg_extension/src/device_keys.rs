//! Keys that devices publish. Client-Server API, "Uploading keys".

mod claim;
mod one_time;
mod query;
pub mod remote;
mod upload;

use std::collections::BTreeSet;

use matriarch_rules::{Map, identifiers::server_name};
use serde_json::{Value, json};

pub use one_time::{Counts, unused_fallback_types};
pub use upload::{Upload, store};

/// An object without what is not covered by its signatures.
pub fn unsigned_form(mut object: Map) -> Map {
    object.remove("signatures");
    object.remove("unsigned");
    object
}

/// Whether this is what `signatures` of a key holds: signatures by key id by user id.
pub fn is_signatures(value: &Value) -> bool {
    value.as_object().is_some_and(|signers| {
        signers.values().all(|keys| keys.as_object().is_some_and(|keys| keys.values().all(Value::is_string)))
    })
}

/// `failures` of an answer: the servers of these users cannot be asked, as there is no federation.
fn failures(user_ids: BTreeSet<&str>) -> Map {
    let failure = json!({ "errcode": "M_UNAVAILABLE", "error": "The server cannot be reached." });
    user_ids.into_iter().filter_map(server_name).map(|server| (server.to_owned(), failure.clone())).collect()
}
