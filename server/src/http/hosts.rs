//! The `Host` of requests to a listener on the loopback interface.
//!
//! A web page of `evil.example` may have its name resolve to 127.0.0.1, and is then of the same origin as
//! this server for the browser on this machine. It is recognized by the name that it asks for.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use matriarch_rules::identifiers::host;

use super::peer::Network;
use crate::base::error::ApiError;
use crate::base::limit;
use crate::config::{Config, Listener};

/// The names that a listener answers to; `None` if it answers to any.
#[derive(Clone)]
pub struct Hosts(Option<Arc<[String]>>);

impl Hosts {
    /// A listener on the loopback interface that is behind no proxy answers to `localhost`, to addresses, and
    /// to the names of the server.
    pub fn of(listener: &Listener, config: &Config) -> Self {
        if !listener.address.is_loopback() || listener.trust_forwarded_for {
            return Self(None);
        }
        let base_url = config.public_base_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        let base_host = base_url.as_ref().and_then(Uri::host);
        let names = ["localhost"].into_iter().chain([config.server_name.as_str()]).chain(base_host);
        Self(Some(names.map(|name| host(name).to_ascii_lowercase()).collect()))
    }

    /// Whether the listener answers to this `Host`.
    fn admits(&self, authority: &str) -> bool {
        let Some(names) = &self.0 else { return true };
        let name = host(authority).to_ascii_lowercase();
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        // Names below localhost are this machine's for every browser.
        is_address || name.ends_with(".localhost") || names.contains(&name)
    }
}

/// Refuses requests for hosts that the listener does not answer to: 421 `M_UNKNOWN`. Programs that name no
/// host are no browsers.
pub async fn check_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or_default());
    let authority = named.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if authority.is_none_or(|authority| hosts.admits(authority)) {
        return next.run(request).await;
    }
    let (parts, _) = request.into_parts();
    limit::reached("host", Network::of(&parts));
    let message = "This listener does not serve that host";
    ApiError::new(StatusCode::MISDIRECTED_REQUEST, "M_UNKNOWN", message).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::Hosts;
    use crate::config::{Config, Listener};

    fn hosts(address: &str, base_url: Option<&str>) -> Hosts {
        let config = Config {
            server_name: "example.org:8448".to_owned(),
            public_base_url: base_url.map(str::to_owned),
            ..Config::default()
        };
        Hosts::of(&Listener::new(address.parse().unwrap(), 8008), &config)
    }

    #[test]
    fn on_loopback_the_names_of_the_server_count() {
        let hosts = hosts("127.0.0.1", Some("https://matrix.example.org:443/x"));
        for name in [
            "localhost",
            "LOCALHOST:8008",
            "127.0.0.1:8008",
            "[::1]:8008",
            "example.org",
            "matrix.example.org.",
        ] {
            assert!(hosts.admits(name), "{name}");
        }
        for name in ["evil.example", "localhost.evil.example:8008", "", "example.org.evil.example"] {
            assert!(!hosts.admits(name), "{name}");
        }
    }

    #[test]
    fn elsewhere_every_name_counts() {
        assert!(hosts("0.0.0.0", None).admits("evil.example"));
        let mut listener = Listener::new("127.0.0.1".parse().unwrap(), 8008);
        listener.trust_forwarded_for = true;
        assert!(Hosts::of(&listener, &Config::default()).admits("evil.example"));
    }
}
