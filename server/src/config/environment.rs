//! Finds the environment variables that are configuration keys.
//!
//! `MATRIARCH_A__B` is the key `a.b`. Not every variable that begins with `MATRIARCH_` is a key: Kubernetes
//! and Docker tell each container the addresses of others in variables that begin with the others' names, and
//! one of these may be `matriarch`. Such variables, and those that resemble no key, are ignored. A mistyped
//! key is an error, since the node would otherwise run with another configuration than intended.

use figment::Figment;
use figment::error::Kind;
use figment::providers::Env;
use strsim::osa_distance;

use super::Config;
use super::error::ConfigError;

const PREFIX: &str = "MATRIARCH_";
/// The separator between the names of a table and of a key in it.
const SEPARATOR: &str = "__";
/// No key has this name.
const NO_KEY: &str = "?";

/// The variables of this program.
pub(super) struct Environment {
    /// The variables that set keys, or name keys that do not exist.
    pub keys: Env,
    /// The whole names of the others, which are ignored.
    pub ignored: Vec<String>,
}

/// What a variable is.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// A key, or certainly meant as one.
    Key,
    /// Probably meant as this key, which is written as the name of its variable.
    Mistyped(String),
    /// Set by a container platform.
    Platform,
    /// Something else.
    Unknown,
}

/// Classifies the variables that begin with `MATRIARCH_`. A mistyped key is an error.
pub(super) fn read() -> Result<Environment, ConfigError> {
    let keys = known_keys();
    let mut ignored = Vec::new();
    for (name, _) in Env::prefixed(PREFIX).iter() {
        let name = name.as_str().to_lowercase();
        let variable = format!("{PREFIX}{}", name.to_uppercase());
        match meaning(&name, &keys) {
            Meaning::Key | Meaning::Platform => {}
            Meaning::Mistyped(meant) => {
                let text =
                    format!("environment variable {variable}: there is no such key; is {meant} meant?");
                return Err(ConfigError::Form(text));
            }
            Meaning::Unknown => ignored.push(variable),
        }
    }
    let is_key = move |name: &str| meaning(&name.to_lowercase(), &keys) == Meaning::Key;
    let keys = Env::prefixed(PREFIX).filter(move |name| is_key(name.as_str())).split(SEPARATOR);
    Ok(Environment { keys, ignored })
}

/// Classifies the variable `name`; `keys` are those of [`known_keys`].
pub(super) fn meaning(name: &str, keys: &[String]) -> Meaning {
    if name.contains(SEPARATOR) || keys.iter().any(|key| key == name) {
        return Meaning::Key;
    }
    if is_platform_variable(name) {
        return Meaning::Platform;
    }
    let flat = |key: &str| key.replace(SEPARATOR, "_");
    let nearest = keys.iter().map(|key| (osa_distance(&flat(key), name), key)).min();
    match nearest {
        // Two typing errors, or one in a short name.
        Some((distance, key)) if distance <= 2 && distance * 3 <= name.len() => {
            Meaning::Mistyped(format!("{PREFIX}{}", key.to_uppercase()))
        }
        _ => Meaning::Unknown,
    }
}

/// Whether Kubernetes or Docker sets variables of this name for a service called `matriarch` or
/// `matriarch-…`: `[…_]SERVICE_HOST`, `[…_]SERVICE_PORT[_NAME]`, `[…_]PORT`,
/// `[…_]PORT_8008_TCP[_(ADDR|PORT|PROTO)]`.
fn is_platform_variable(name: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_protocol = |part: &str| matches!(part, "tcp" | "udp" | "sctp");
    (0..parts.len()).any(|start| match &parts[start..] {
        ["port"] | ["service", "host"] | ["service", "port", ..] => true,
        ["port", number, protocol] | ["port", number, protocol, "addr" | "port" | "proto"] => {
            is_number(number) && is_protocol(protocol)
        }
        _ => false,
    })
}

/// Every key as the name of its variable, without the prefix and in lower case: `server_name`, `database`,
/// `database__url`…
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    for key in keys_in(None) {
        keys.push((*key).to_owned());
        keys.extend(keys_in(Some(key)).iter().map(|inner| format!("{key}{SEPARATOR}{inner}")));
    }
    keys
}

/// The keys of a table, or of the whole configuration, read from the error about an unknown key. None if
/// `table` is no table.
fn keys_in(table: Option<&str>) -> &'static [&'static str] {
    let probe = table.map_or_else(|| NO_KEY.to_owned(), |table| format!("{table}.{NO_KEY}"));
    match Figment::from((probe, true)).extract::<Config>().map_err(|error| error.kind) {
        Err(Kind::UnknownField(_, keys)) => keys,
        _ => &[],
    }
}
