//! Authenticates requests of other servers by their signatures. Server-Server API, "Request Authentication".

#[cfg(test)]
mod tests;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use matriarch_rules::json::parse_object;
use matriarch_rules::signature::{PublicKey, verify_json};
use serde_json::{Map, Value, json};
use tracing::{debug, info};

use super::x_matrix::XMatrix;
use crate::app::App;
use crate::base::current_request::log_user;
use crate::base::error::ApiError;
use crate::federation::http_client::FederationError;

/// The most signatures of a request that are checked: servers sign with each of their keys.
const MAX_SIGNATURES: usize = 4;

/// The most JSON objects in a body. Each takes more than 512 bytes of memory, however short it is.
const MAX_OBJECTS: usize = 200_000;

/// A request of another server with a valid signature.
#[derive(Debug)]
pub struct ServerRequest {
    /// The server that sent the request.
    pub origin: String,
    /// The body; empty if there is none.
    pub content: Map<String, Value>,
}

fn unauthorized(reason: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", reason)
}

/// Counts the objects in a text, assuming that it is JSON.
fn objects(text: &str) -> usize {
    let (mut objects, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' if !in_string => objects += 1,
            _ => {}
        }
    }
    objects
}

impl FromRequest<App> for ServerRequest {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let headers: Vec<XMatrix> = parts
            .headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .filter_map(|value| XMatrix::parse(value.to_str().ok()?))
            .take(MAX_SIGNATURES)
            .collect();
        let origin = match headers.first() {
            Some(first) if headers.iter().all(|header| header.origin == first.origin) => first.origin.clone(),
            Some(_) => return Err(unauthorized("The request names several origins")),
            None => return Err(unauthorized("The request is not signed by a server")),
        };
        let ours = &app.config.server_name;
        if headers.iter().any(|header| header.destination.as_ref().is_some_and(|name| name != ours)) {
            return Err(unauthorized("The request is for another server"));
        }
        if !app.federation.http.admits(&origin) || origin == *ours {
            return Err(ApiError::forbidden("This server does not federate with yours"));
        }
        let bytes =
            body.collect().await.map_err(|_| ApiError::not_json("The body did not arrive whole"))?.to_bytes();
        let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let mut signed = Map::new();
        signed.insert("method".to_owned(), parts.method.as_str().into());
        signed.insert("uri".to_owned(), uri.into());
        signed.insert("origin".to_owned(), origin.as_str().into());
        signed.insert("destination".to_owned(), ours.as_str().into());
        if !bytes.is_empty() {
            let text =
                std::str::from_utf8(&bytes).map_err(|_| ApiError::not_json("The body is not valid UTF-8"))?;
            if objects(text) > MAX_OBJECTS {
                info!(origin, limit = "objects", "the body of another server's request is over a limit");
                crate::base::metrics::federation_limit("objects");
                return Err(ApiError::too_large());
            }
            let content = parse_object(text).map_err(|error| ApiError::not_json(error.to_string()))?;
            signed.insert("content".to_owned(), content.into());
        }
        for header in headers {
            let key = find_key(app, &origin, &header.key).await?;
            signed.insert("signatures".to_owned(), json!({ &origin: { &header.key: header.signature } }));
            let right = key.is_some_and(|key| {
                verify_json(&signed, &origin, |id| (id == header.key).then(|| key.clone())).is_ok()
            });
            if right {
                log_user(&origin);
                app.outgoing.heard_from(&origin);
                let content = match signed.remove("content") {
                    Some(Value::Object(content)) => content,
                    _ => Map::new(),
                };
                return Ok(Self { origin, content });
            }
        }
        Err(unauthorized("The signature is wrong, or by a key that is not known"))
    }
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
