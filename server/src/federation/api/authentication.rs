//! Authenticates requests of other servers by their signatures. Server-Server API, "Request Authentication".

#[cfg(test)]
mod tests;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use matriarch_rules::json::Document;
use matriarch_rules::signature::{PublicKey, request_to_sign};
use tracing::{debug, info};

use super::x_matrix::XMatrix;
use crate::app::App;
use crate::base::current_request::log_user;
use crate::base::error::ApiError;
use crate::base::raw_object::RawObject;
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
    pub content: RawObject,
}

/// The body of a request, and the texts that its signature may cover.
struct Signed {
    content: RawObject,
    /// The body as it was sent, and its canonical JSON if that is another: a server may sign its own bytes or
    /// what any server makes of them. Numbers stay as they stand, whether canonical JSON has them or not:
    /// events and EDUs are judged one by one.
    forms: Vec<Option<String>>,
}

impl Signed {
    fn read(text: &str) -> Result<Self, ApiError> {
        let document = Document::parse(text).map_err(|error| ApiError::not_json(error.to_string()))?;
        let content = RawObject::parse(text.to_owned()).filter(|_| document.is_object());
        let content = content.ok_or_else(|| ApiError::not_json("The body is not a JSON object"))?;
        let mut forms = vec![Some(text.to_owned()), Some(document.canonical())];
        forms.dedup();
        Ok(Self { content, forms })
    }
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
        let mut signed = Signed { content: RawObject::default(), forms: vec![None] };
        if !bytes.is_empty() {
            let text =
                std::str::from_utf8(&bytes).map_err(|_| ApiError::not_json("The body is not valid UTF-8"))?;
            if objects(text) > MAX_OBJECTS {
                info!(origin, limit = "objects", "the body of another server's request is over a limit");
                crate::base::metrics::federation_limit("objects");
                return Err(ApiError::too_large());
            }
            signed = Signed::read(text)?;
        }
        let method = parts.method.as_str();
        let forms: Vec<String> = signed
            .forms
            .iter()
            .map(|content| request_to_sign(method, uri, &origin, ours, content.as_deref()))
            .collect();
        for header in headers {
            let key = find_key(app, &origin, &header.key).await?;
            let verifies =
                |key: PublicKey| forms.iter().any(|form| key.verifies(form.as_bytes(), &header.signature));
            if key.is_some_and(verifies) {
                log_user(&origin);
                app.outgoing.heard_from(&origin);
                return Ok(Self { origin, content: signed.content });
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
