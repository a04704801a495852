//! The address of a request's client.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use axum::http::{Extensions, HeaderMap};

/// The remote end of a connection. The listener adds it to each request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    /// Whether it is a proxy, which names its client in `X-Forwarded-For`.
    pub is_proxy: bool,
}

/// The client's address: the peer's or, behind a proxy, the last one in `X-Forwarded-For`. The proxy has
/// added that one; earlier ones may be forged by the client.
pub fn client_address(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = extensions.get::<Peer>()?;
    let forwarded = || {
        let header = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        parse(header.rsplit(',').next()?.trim())
    };
    let address = if peer.is_proxy { forwarded() } else { None };
    Some(address.unwrap_or(peer.address).to_canonical())
}

/// Parses an address as proxies write it: with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
