//! Parses database URLs, including libpq's TLS parameters, which `tokio-postgres` does not support.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

/// A parsed database URL.
pub struct PostgresUrl {
    /// Address, user and other parameters of the connection.
    pub config: tokio_postgres::Config,
    /// Which server certificates are accepted.
    pub trust: Trust,
    /// The client certificate and its key, PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Which server certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Any: the connection is encrypted, but an attacker in the middle can read and change it.
    Any,
    /// A certificate signed by an authority in this PEM file.
    Authority(PathBuf),
    /// Such a certificate for the host name of the connection. Without a file, the system's authorities are
    /// trusted.
    Host(Option<PathBuf>),
}

/// The TLS parameters as texts.
#[derive(Default)]
struct Parameters {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl FromStr for PostgresUrl {
    type Err = String;

    /// Parses `postgres://…` or a libpq `key=value` string. The error does not repeat it, as it may contain a
    /// password.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let (rest, parameters) = if is_url { split_url(text) } else { split_pairs(text) };
        let mut config: tokio_postgres::Config = rest.parse().map_err(|error| reason(&error))?;
        let (mode, trust) = parameters.trust()?;
        let identity = match (parameters.certificate, parameters.key) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) => return Err("`sslcert` needs `sslkey`".to_owned()),
            (None, Some(_)) => return Err("`sslkey` needs `sslcert`".to_owned()),
        };
        // As in libpq, there is no TLS on a Unix socket.
        let local = !config.get_hosts().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(if local { SslMode::Disable } else { mode });
        if config.get_hosts().is_empty() {
            // The certificate may be for an IP address.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        Ok(Self { config, trust, identity })
    }
}

impl Parameters {
    /// Stores a TLS parameter. Returns false for other parameters.
    fn take(&mut self, name: &str, value: &str) -> bool {
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => return false,
        };
        *place = Some(value.to_owned());
        true
    }

    fn trust(&self) -> Result<(SslMode, Trust), String> {
        let root = self.root.as_deref();
        let system = root == Some("system");
        let default = if system { "verify-full" } else { "prefer" };
        let file = || root.map(PathBuf::from);
        match self.mode.as_deref().unwrap_or(default) {
            "verify-full" if system => Ok((SslMode::Require, Trust::Host(None))),
            "verify-full" => Ok((SslMode::Require, Trust::Host(file()))),
            mode @ ("disable" | "prefer" | "require" | "verify-ca") if system => {
                Err(format!("`sslrootcert=system` needs `sslmode=verify-full`, and not {mode}"))
            }
            // As in libpq, with a file of authorities `require` means `verify-ca`.
            "require" | "verify-ca" if root.is_some() => {
                Ok((SslMode::Require, Trust::Authority(file().unwrap_or_default())))
            }
            "require" => Ok((SslMode::Require, Trust::Any)),
            "verify-ca" => Err("`sslmode=verify-ca` needs `sslrootcert`".to_owned()),
            mode @ ("disable" | "prefer") if root.is_some() => Err(format!(
                "`sslrootcert` is not used with `sslmode={mode}`: `sslmode=verify-full` may be meant"
            )),
            "disable" => Ok((SslMode::Disable, Trust::Any)),
            "prefer" => Ok((SslMode::Prefer, Trust::Any)),
            _ => Err("`sslmode` must be disable, prefer, require, verify-ca or verify-full".to_owned()),
        }
    }
}

/// Removes the TLS parameters from a URL.
fn split_url(url: &str) -> (String, Parameters) {
    let mut parameters = Parameters::default();
    // A password may contain a question mark.
    let after_user = url.find('@').unwrap_or_default();
    let Some(mark) = url[after_user..].find('?').map(|mark| after_user + mark) else {
        return (url.to_owned(), parameters);
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let is_other = |pair: &&str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        !parameters.take(&decode(name), &decode(value))
    };
    let others: Vec<&str> = url[mark + 1..].split('&').filter(is_other).collect();
    let rest = if others.is_empty() {
        url[..mark].to_owned()
    } else {
        format!("{}?{}", &url[..mark], others.join("&"))
    };
    (rest, parameters)
}

/// Removes the TLS parameters from a string of `key=value` pairs. Values may be quoted by `'`, and `\`
/// escapes the next character. Leaves a malformed string to the parser of `tokio-postgres`, which reports the
/// error.
fn split_pairs(text: &str) -> (String, Parameters) {
    let mut parameters = Parameters::default();
    let mut rest = String::new();
    let mut remaining = text;
    while let Some((name, after)) = remaining.split_once('=') {
        let Some((value, length)) = read_value(after) else { break };
        if !parameters.take(name.trim(), &value) {
            rest.push_str(&remaining[..name.len() + 1 + length]);
            rest.push(' ');
        }
        remaining = &after[length..];
    }
    rest.push_str(remaining);
    (rest, parameters)
}

/// The value at the start of `text`, after white space, and its length in `text`. `None` if a quote is not
/// closed.
fn read_value(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut quoted = false;
    let mut begun = false;
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\'' if !begun => quoted = true,
            '\'' if quoted => return Some((value, index + 1)),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ if character.is_whitespace() && !begun => continue,
            _ if character.is_whitespace() && !quoted => return Some((value, index)),
            _ => value.push(character),
        }
        begun = true;
    }
    (!quoted).then_some((value, text.len()))
}

/// The parser's reason, which does not repeat the URL.
fn reason(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
