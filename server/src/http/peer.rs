//! Where a request comes from.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use axum::http::{Extensions, HeaderMap};

/// The other end of a connection. The listener puts it into each request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    /// Whether it is a proxy, which tells of its client in `X-Forwarded-For`.
    pub is_proxy: bool,
}

/// The client's address: the peer's or, behind a proxy, the last one in `X-Forwarded-For`. That is the one which the proxy saw; what
/// stands before it, the client may have made up.
pub fn client_address(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = extensions.get::<Peer>()?;
    let forwarded = || {
        let header = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        parse(header.rsplit(',').next()?.trim())
    };
    let address = if peer.is_proxy { forwarded() } else { None };
    Some(address.unwrap_or(peer.address).to_canonical())
}

/// Reads an address as proxies write it: with a port, or without.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
