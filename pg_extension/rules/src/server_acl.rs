//! Server access control lists: which servers may take part in a room.
//!
//! Spec: [Server Access Control Lists (ACLs) for rooms][acls].
//!
//! [acls]: https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms

use serde_json::Value;

use crate::{
    Map, glob,
    identifiers::{host, is_ip_literal},
};

/// Whether an `m.room.server_acl` with this content lets a server take part in the room. Ignores the port,
/// the final dot and the case of `server_name`. Entries that are not strings match no server.
pub fn admits(content: &Map, server_name: &str) -> bool {
    let host = host(server_name).to_ascii_lowercase();
    if content.get("allow_ip_literals") == Some(&Value::Bool(false)) && is_ip_literal(&host) {
        return false;
    }
    let named = |list: &str| {
        let patterns = content.get(list).and_then(Value::as_array).into_iter().flatten();
        patterns.filter_map(Value::as_str).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), &host))
    };
    !named("deny") && named("allow")
}

#[cfg(test)]
mod tests;
