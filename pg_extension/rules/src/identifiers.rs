//! The grammar of identifiers, as far as the rules of rooms depend on it.
//!
//! Spec: [Identifier grammar](https://spec.matrix.org/v1.19/appendices/#identifier-grammar). The checks of
//! identifiers in events are lenient: events that older servers accepted must stay valid.

use std::net::Ipv6Addr;

pub mod localpart;

/// The greatest length of a user id, room id, room alias, event id, event type and state key, in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// The part after the first `:` of a user id, a room id or an event id, if it has one.
pub fn server_name(id: &str) -> Option<&str> {
    id.split_once(':').map(|(_, server_name)| server_name)
}

/// Whether both ids have a server name and it is the same. Server names are compared as bytes.
pub fn same_server(one: &str, other: &str) -> bool {
    matches!((server_name(one), server_name(other)), (Some(one), Some(other)) if one == other)
}

/// Whether this is a user id that an event may contain: `@`, a localpart (which may be empty) without `:` and
/// U+0000, `:` and a server name; at most 255 bytes.
pub fn is_user_id(id: &str) -> bool {
    id.len() <= MAX_ID_BYTES
        && id
            .strip_prefix('@')
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(localpart, server)| !localpart.contains('\0') && is_server_name(server))
}

/// Whether this is a room alias: `#`, a localpart, `:` and a server name; at most 255 bytes.
pub fn is_room_alias(alias: &str) -> bool {
    alias.len() <= MAX_ID_BYTES
        && alias
            .strip_prefix('#')
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(localpart, server)| is_alias_localpart(localpart) && is_server_name(server))
}

/// Whether this can be the localpart of a room alias: any text without `:` and U+0000. The specification does
/// not mention empty localparts; they are refused.
pub fn is_alias_localpart(localpart: &str) -> bool {
    !localpart.is_empty() && !localpart.contains([':', '\0'])
}

/// Whether this obeys the
/// [common namespaced identifier
/// grammar](https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar): 1 to 255 of
/// `a-z`, `0-9`, `-`, `_` and `.`, the first a letter. Does not check namespaces: the specification reserves
/// those that start with `m.`.
pub fn is_common_namespaced_identifier(id: &str) -> bool {
    id.len() <= MAX_ID_BYTES
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
}

/// Whether this obeys the
/// [opaque identifier grammar](https://spec.matrix.org/v1.19/appendices/#opaque-identifiers): 1 to 255 of
/// `A-Z`, `a-z`, `0-9`, `-`, `.`, `_` and `~`.
pub fn is_opaque_identifier(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
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

/// The host of a server name: without the port, and without the final dot that a fully qualified DNS name may
/// have. Lists of servers compare hosts, since a server could otherwise choose another port to be another.
pub fn host(server_name: &str) -> &str {
    let host = match (server_name.rfind(']'), server_name.rfind(':')) {
        (Some(bracket), _) => &server_name[..=bracket],
        (None, Some(colon)) => &server_name[..colon],
        (None, None) => server_name,
    };
    host.trim_end_matches('.')
}

/// Whether a host is an IP address as URLs have them. Beside `127.0.0.1` and `[::1]` that is any host whose
/// last label is a number: `127.1`, `0x7f000001` and `2130706433` are the same address in a URL, and no DNS
/// name ends in a number. [URL Standard, "ends in a number
/// checker"](https://url.spec.whatwg.org/#ends-in-a-number-checker).
pub fn is_ip_literal(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    host.starts_with('[')
        || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
