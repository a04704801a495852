//! [Server access control lists](https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms):
//! which servers a room deals with.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::{Map, glob};

/// Whether a room whose `m.room.server_acl` has this content deals with a server. The port is not looked at, nor the case;
/// entries that are not strings name nobody.
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

/// A server name without its port.
fn host(server_name: &str) -> &str {
    match (server_name.rfind(']'), server_name.rfind(':')) {
        (Some(bracket), _) => &server_name[..=bracket],
        (None, Some(colon)) => &server_name[..colon],
        (None, None) => server_name,
    }
}

fn is_ip_literal(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests;
