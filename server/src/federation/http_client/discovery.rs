//! Resolves server names. Server-Server API, "Resolving server names".
//!
//! A server name, or the name that its `.well-known` delegates to, is an [`Authority`]. It is sent in the
//! `Host` header, the certificate must be valid for its host, and it alone determines which addresses are
//! tried.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use matriarch_rules::identifiers::{is_ip_literal, is_server_name};
use reqwest::Url;

use super::addresses;

/// The port of servers if neither the name nor an SRV record has one.
const DEFAULT_PORT: u16 = 8448;

/// `<host>[:<port>]`, by the grammar of server names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// As written, with brackets around IPv6 addresses.
    pub host: String,
    pub port: Option<u16>,
}

impl Authority {
    /// Parses a server name; `None` if it is invalid. An address in another spelling, such as `127.1`, is
    /// invalid: a URL would read it as an address, but it would pass for a DNS name here.
    pub fn parse(name: &str) -> Option<Self> {
        if !is_server_name(name) {
            return None;
        }
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (name, None),
        };
        let authority = Self { host: host.to_ascii_lowercase(), port };
        (authority.literal().is_some() || !is_ip_literal(host)).then_some(authority)
    }

    /// The address, if the host is an IP literal.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// Whether `.well-known` and SRV lookups apply: it has no port and is no IP literal.
    pub fn is_open(&self) -> bool {
        self.port.is_none() && self.literal().is_none()
    }

    /// The `Host` header: the name as it was written.
    pub fn host_header(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The port to connect to if there is no SRV record.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// `.` means that the service is not available (RFC 2782).
    pub target: String,
}

/// The part of DNS that discovery needs.
pub trait Dns: Send + Sync + 'static {
    /// SRV records; empty if there are none.
    fn srv(&self, name: &str) -> impl Future<Output = Vec<Srv>> + Send;

    /// AAAA and A records, through CNAMEs.
    fn addresses(&self, name: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

impl Dns for TokioResolver {
    async fn srv(&self, name: &str) -> Vec<Srv> {
        let Ok(found) = self.srv_lookup(format!("{name}.")).await else { return Vec::new() };
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        });
        records.collect()
    }

    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // The final dot disables search domains. Names without a dot, such as localhost, are found in the
        // hosts file.
        let name =
            if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() };
        let found = self.lookup_ip(name).await.map_err(io::Error::other)?;
        Ok(found.iter().collect())
    }
}

/// Resolves names to addresses, and leaves out addresses that must not be connected to.
#[derive(Clone, Debug)]
pub struct Resolver<D> {
    dns: D,
    allow_private: bool,
}

impl<D: Dns> Resolver<D> {
    pub fn new(dns: D, allow_private: bool) -> Self {
        Self { dns, allow_private }
    }

    /// Whether the address may be connected to.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.allow_private || addresses::is_public(address)
    }

    /// Whether a URL may be requested. If its host is an address, no name is resolved, so that the address
    /// is judged here, as the URL's parser read it.
    pub fn admits_url(&self, url: &Url) -> bool {
        let address = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        address.is_none_or(|address| self.admits(address))
    }

    /// The addresses of a host, each with `port`.
    pub async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = self.dns.addresses(host).await?;
        let admitted: Vec<SocketAddr> = found
            .iter()
            .filter(|address| self.admits(**address))
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        match (found.is_empty(), admitted.is_empty()) {
            (true, _) => Err(io::Error::other("the host has no address")),
            (false, true) => Err(io::Error::other("the host has private addresses only")),
            _ => Ok(admitted),
        }
    }

    /// The addresses of a server without a port in its name: by SRV records, or else with the default port.
    pub async fn servers(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let mut records = self.dns.srv(&format!("_matrix-fed._tcp.{host}")).await;
        if records.is_empty() {
            // Deprecated.
            records = self.dns.srv(&format!("_matrix._tcp.{host}")).await;
        }
        if records.is_empty() {
            return self.addresses(host, DEFAULT_PORT).await;
        }
        let records = in_order(records, |greatest| rand::random_range(0..=greatest));
        let mut found = Vec::new();
        let mut last = io::Error::other("the SRV records say that there is no server");
        for srv in records.iter().filter(|srv| srv.target != ".") {
            match self.addresses(srv.target.trim_end_matches('.'), srv.port).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => last = error,
            }
        }
        if found.is_empty() { Err(last) } else { Ok(found) }
    }
}

/// The records in the order in which to try them: by priority, and those of equal priority at random, by
/// weight. RFC 2782, "Weight". `random` gives a number from 0 to the one that it is given.
fn in_order(mut records: Vec<Srv>, mut random: impl FnMut(u32) -> u32) -> Vec<Srv> {
    // Those without weight come first, so that they keep a small chance.
    records.sort_by_key(|srv| (srv.priority, srv.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|srv| srv.priority) {
        let equals = records.partition_point(|srv| srv.priority == priority);
        let total = records[..equals].iter().map(|srv| u32::from(srv.weight)).sum();
        let chosen = random(total);
        let mut sum = 0;
        let place = records[..equals].iter().position(|srv| {
            sum += u32::from(srv.weight);
            sum >= chosen
        });
        ordered.push(records.remove(place.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests;
