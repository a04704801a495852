#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use axum::http::{Extensions, HeaderMap, HeaderValue, header::HeaderName};

use super::{Peer, client_address};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address, as text, of a request from `peer` with these headers.
fn address(peer: &str, is_proxy: bool, forwarded: &[&'static str]) -> String {
    let mut extensions = Extensions::new();
    extensions.insert(Peer { address: peer.parse().unwrap(), is_proxy });
    let mut headers = HeaderMap::new();
    for value in forwarded {
        headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
    }
    client_address(&extensions, &headers).unwrap().to_string()
}

#[test]
fn without_a_proxy_the_header_says_nothing() {
    assert_eq!(address("192.0.2.1", false, &["198.51.100.1"]), "192.0.2.1");
    assert_eq!(address("::ffff:192.0.2.1", false, &[]), "192.0.2.1");
    assert_eq!(client_address(&Extensions::new(), &HeaderMap::new()), None);
}

#[test]
fn a_proxy_tells_the_last_address() {
    for (forwarded, expected) in [
        (&["198.51.100.1"][..], "198.51.100.1"),
        (&["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        (&["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        (&["198.51.100.1:4711"], "198.51.100.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["::ffff:198.51.100.1"], "198.51.100.1"),
    ] {
        assert_eq!(address("192.0.2.1", true, forwarded), expected, "{forwarded:?}");
    }
}

#[test]
fn a_proxy_that_tells_nothing_sound_stands_for_its_client() {
    for forwarded in
        [&[][..], &[""], &["unknown"], &["198.51.100.1,"], &["198.51.100.1, _hidden"], &["1.2.3"]]
    {
        assert_eq!(address("192.0.2.1", true, forwarded), "192.0.2.1", "{forwarded:?}");
    }
}
