//! The address of a request's client.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use crate::base::network::network;

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

/// The network of the client's address, for limits. As an extractor it never refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(pub IpAddr);

impl Network {
    /// The network that a request comes from.
    pub fn of(parts: &Parts) -> Self {
        let address = client_address(&parts.extensions, &parts.headers);
        Self(network(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

/// As PostgreSQL's `cidr` writes it.
impl Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0.is_ipv4() { 32 } else { 64 };
        write!(f, "{}/{bits}", self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for Network {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// Parses an address as proxies write it: with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
