//! `[[registration.terms]]`: documents that new users agree to. Client-Server API, "Terms of service at
//! registration".

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::identifiers::is_opaque_identifier;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// One version of a document.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// An opaque identifier, such as `privacy_policy`.
    pub id: String,
    /// An opaque identifier, such as `1.2`.
    pub version: String,
    /// The document in each language, by language tag (RFC 5646).
    pub languages: BTreeMap<String, Translation>,
}

/// A document in one language.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Translation {
    /// The title.
    pub name: String,
    /// The URL.
    pub url: String,
}

pub(super) fn check(policies: &[Policy]) -> Result<(), ConfigError> {
    let mut ids = BTreeSet::new();
    for (number, policy) in policies.iter().enumerate() {
        let refuse = |key: &str, reason: &str| {
            Err(ConfigError::value(format!("registration.terms.{number}.{key}"), reason))
        };
        let grammar = "must be 1 to 255 of A-Z, a-z, 0-9, `-`, `.`, `_` and `~`";
        if !is_opaque_identifier(&policy.id) {
            return refuse("id", grammar);
        }
        if !is_opaque_identifier(&policy.version) {
            return refuse("version", grammar);
        }
        if !ids.insert(&policy.id) {
            return refuse("id", "is another document's as well");
        }
        if policy.languages.is_empty() {
            return refuse("languages", "must have at least one");
        }
        for (language, Translation { name, url }) in &policy.languages {
            // The key is in the same JSON object as the languages.
            if language.is_empty() || language == "version" {
                return refuse("languages", "must be named by language codes");
            }
            if name.is_empty() {
                return refuse(&format!("languages.{language}.name"), "must not be empty");
            }
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return refuse(&format!("languages.{language}.url"), "must begin with https:// or http://");
            }
        }
    }
    Ok(())
}
