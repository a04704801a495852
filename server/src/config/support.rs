//! `[support]`: whom users and other servers turn to. Client-Server API, "`/.well-known/matrix/support`".

use matriarch_rules::identifiers::is_user_id;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// Whom users and other servers turn to, served at `/.well-known/matrix/support`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Support {
    /// People and their addresses. Default: none.
    pub contacts: Vec<Contact>,
    /// The URL of a page. Default: none.
    pub page: Option<String>,
}

/// A person or a group.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// `m.role.admin`, `m.role.security`, or another role by its namespaced name.
    pub role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_id: Option<String>,
}

impl Support {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (index, contact) in self.contacts.iter().enumerate() {
            let refuse = |key: &str, reason: &str| {
                Err(ConfigError::value(format!("support.contacts.{index}{key}"), reason))
            };
            if contact.role.is_empty() {
                return refuse(".role", "must not be empty");
            }
            if contact.email_address.is_none() && contact.matrix_id.is_none() {
                return refuse("", "must have an `email_address` or a `matrix_id`");
            }
            if contact.matrix_id.as_deref().is_some_and(|matrix_id| !is_user_id(matrix_id)) {
                return refuse(".matrix_id", "must be a user id");
            }
        }
        if let Some(page) = &self.page
            && !(page.starts_with("https://") || page.starts_with("http://"))
        {
            return Err(ConfigError::value("support.page", "must begin with https:// or http://"));
        }
        Ok(())
    }
}
