//! The server that sent a request, as far as the request's head shows it. Server-Server API, "Request
//! Authentication".
//!
//! Its keys are looked for before the body is read: other servers may be slow to give them, and bodies that
//! wait take memory.

use std::borrow::Cow;

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use matriarch_rules::signature::PublicKey;
use tracing::debug;

use super::peer::Network;
use super::x_matrix::XMatrix;
use crate::app::App;
use crate::base::error::ApiError;
use crate::federation::http_client::FederationError;

/// The most signatures of a request that are checked: servers sign with each of their keys.
const MAX_SIGNATURES: usize = 4;

/// The server that a request names as its sender. Its signature is still to be checked.
#[derive(Clone)]
pub struct Origin {
    /// The name of the server.
    pub name: String,
    /// Signatures in unpadded base64, each by a key that the server published and that is valid now.
    pub signatures: Vec<(String, PublicKey)>,
    network: Network,
}

impl Origin {
    /// Reads the head of a request. `None` if no server has signed it.
    ///
    /// # Errors
    ///
    /// 401 `M_UNAUTHORIZED` for a head that cannot be right, 403 `M_FORBIDDEN` for a server that this one
    /// does not deal with, 429 `M_LIMIT_EXCEEDED` if too many requests of the network were not signed.
    pub async fn of(app: &App, parts: &Parts) -> Result<Option<Self>, ApiError> {
        let headers: Vec<XMatrix> = parts
            .headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .filter_map(|value| XMatrix::parse(value.to_str().ok()?))
            .take(MAX_SIGNATURES)
            .collect();
        let Some(first) = headers.first() else { return Ok(None) };
        let name = first.origin.clone();
        if headers.iter().any(|header| header.origin != name) {
            return Err(unauthorized("The request names several origins"));
        }
        let ours = &app.config.server_name;
        if headers.iter().any(|header| header.destination.as_ref().is_some_and(|name| name != ours)) {
            return Err(unauthorized("The request is for another server"));
        }
        if !app.federation.http.admits(&name) || name == *ours {
            return Err(ApiError::forbidden("This server does not federate with yours"));
        }
        let network = Network::of(parts);
        app.rates.unsigned_federation(network.0)?;
        let mut signatures = Vec::new();
        for header in headers {
            if let Some(key) = find_key(app, &name, &header.key).await? {
                signatures.push((header.signature, key));
            }
        }
        if signatures.is_empty() {
            return Err(wrong_signature());
        }
        Ok(Some(Self { name, signatures, network }))
    }

    /// Counts a request whose signature was right: 429 `M_LIMIT_EXCEEDED` if the server sends too many.
    pub fn is_proven(&self, app: &App) -> Result<(), ApiError> {
        app.rates.signed_federation(self.network.0);
        app.rates.federation(&self.name)
    }
}

/// 401 `M_UNAUTHORIZED`.
pub fn unauthorized(reason: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", reason)
}

/// 401 `M_UNAUTHORIZED`: no signature is right.
pub fn wrong_signature() -> ApiError {
    unauthorized("The signature is wrong, or by a key that is not known")
}

/// The key, if the server published it and it is valid now.
async fn find_key(app: &App, origin: &str, key_id: &str) -> Result<Option<PublicKey>, ApiError> {
    if key_id.contains('\0') || origin.contains('\0') {
        return Ok(None);
    }
    match app.federation.key_ring.request_key(origin, key_id).await {
        Ok(key) => Ok(key),
        Err(FederationError::Internal(error)) => Err(error),
        Err(error) => {
            debug!(origin, %error, "no keys");
            Ok(None)
        }
    }
}
