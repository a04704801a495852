//! Database URLs: what `tokio-postgres` reads of them, and libpq's parameters of TLS, which it does not know.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

/// How to reach a database.
pub struct PostgresUrl {
    /// Where it is, and who connects.
    pub config: tokio_postgres::Config,
    /// Whom to take for the database.
    pub trust: Trust,
    /// The certificate of this client and its key, PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Which certificates of a server are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Any: the connection is encrypted, but whoever is in the middle may read and change it.
    Anybody,
    /// One that an authority in this PEM file signed.
    Authority(PathBuf),
    /// The same, for the name of the host that was connected to. Without a file, the system's authorities count.
    Host(Option<PathBuf>),
}

/// The parameters of TLS, as they are written.
#[derive(Default)]
struct Parameters {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl FromStr for PostgresUrl {
    type Err = String;

    /// Reads `postgres://…` or a libpq `key=value` string. The error does not repeat it, as it may hold a password.
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
        // As for libpq, there is no TLS on a Unix socket.
        let local = !config.get_hosts().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(if local { SslMode::Disable } else { mode });
        if config.get_hosts().is_empty() {
            // The certificate may be for an address.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        Ok(Self { config, trust, identity })
    }
}

impl Parameters {
    /// Takes a parameter of TLS; false for any other.
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
            // As for libpq, a file of authorities makes more of `require`.
            "require" | "verify-ca" if root.is_some() => {
                Ok((SslMode::Require, Trust::Authority(file().unwrap_or_default())))
            }
            "require" => Ok((SslMode::Require, Trust::Anybody)),
            "verify-ca" => Err("`sslmode=verify-ca` needs `sslrootcert`".to_owned()),
            mode @ ("disable" | "prefer") if root.is_some() => Err(format!(
                "`sslrootcert` is not used with `sslmode={mode}`: `sslmode=verify-full` may be meant"
            )),
            "disable" => Ok((SslMode::Disable, Trust::Anybody)),
            "prefer" => Ok((SslMode::Prefer, Trust::Anybody)),
            _ => Err("`sslmode` must be disable, prefer, require, verify-ca or verify-full".to_owned()),
        }
    }
}

/// Takes the parameters of TLS out of a URL.
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

/// Takes the parameters of TLS out of a string of `key=value` pairs. Values may be quoted by `'`, and `\` takes the
/// next character as it is. What is no such string is left to the parser, who says what is wrong.
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

/// The value that `text` begins with, after space, and its length as it is written. `None` if a quote does not end.
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
