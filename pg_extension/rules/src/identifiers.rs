//! The grammar of identifiers, as far as the rules of rooms depend on it.
//!
//! Spec: [Identifier grammar](https://spec.matrix.org/v1.19/appendices/#identifier-grammar). Identifiers in
//! events are judged leniently: what historical servers let into rooms stays readable.

use std::net::Ipv6Addr;

/// The greatest length of a user id, room id, room alias, event id, event type and state key, in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// The part after the first `:` of a user id, a room id or an event id, if it has one.
pub fn server_name(id: &str) -> Option<&str> {
    id.split_once(':').map(|(_, server_name)| server_name)
}

/// Whether the two ids have a server name, and the same. Server names are compared as bytes.
pub fn same_server(one: &str, other: &str) -> bool {
    matches!((server_name(one), server_name(other)), (Some(one), Some(other)) if one == other)
}

/// Whether this is a user id that may stand in an event: `@`, a localpart without `:` and NUL that may be
/// empty, `:` and a server name; at most 255 bytes.
pub fn is_user_id(id: &str) -> bool {
    id.len() <= MAX_ID_BYTES
        && id
            .strip_prefix('@')
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(localpart, server)| !localpart.contains('\0') && is_server_name(server))
}

/// Whether this is `hostname [ ":" port ]`, the host name being a DNS name, an IPv4 address, or an IPv6
/// address in brackets.
pub fn is_server_name(name: &str) -> bool {
    if let Some(bracketed) = name.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else {
            return false;
        };
        address.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
    } else {
        let (host, port) = name.split_once(':').map_or((name, None), |(host, port)| (host, Some(port)));
        (1..=255).contains(&host.len())
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && port.is_none_or(is_port)
    }
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
