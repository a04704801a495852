//! Authenticates requests of other servers by their signatures. Server-Server API, "Request Authentication".

use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt;
use matriarch_rules::json::Document;
use matriarch_rules::signature::request_to_sign;
use tracing::info;

use crate::app::App;
use crate::base::current_request::log_user;
use crate::base::error::ApiError;
use crate::base::raw_object::{RawObject, objects};
use crate::http::{Origin, unauthorized, wrong_signature};

/// The most JSON objects in a body that was not signed as it was sent, and so is taken apart and written
/// anew. Each takes some 100 bytes of memory, however short it is.
const MAX_OBJECTS: usize = 1_000_000;

/// A request of another server with a valid signature.
#[derive(Debug)]
pub struct ServerRequest {
    /// The server that sent the request.
    pub origin: String,
    /// The body; empty if there is none.
    pub content: RawObject,
}

impl FromRequest<App> for ServerRequest {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        // The layer that read the body has looked for the keys before.
        let origin = parts.extensions.remove::<Origin>();
        let origin = origin.ok_or_else(|| unauthorized("The request is not signed by a server"))?;
        let ours = &app.config.server_name;
        let bytes =
            body.collect().await.map_err(|_| ApiError::not_json("The body did not arrive whole"))?.to_bytes();
        let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let text = match bytes.is_empty() {
            true => None,
            false => Some(
                std::str::from_utf8(&bytes).map_err(|_| ApiError::not_json("The body is not valid UTF-8"))?,
            ),
        };
        let content =
            text.map_or_else(|| Some(RawObject::default()), |text| RawObject::parse(text.to_owned()));
        let content = content.ok_or_else(|| ApiError::not_json("The body is not a JSON object"))?;
        let method = parts.method.as_str();
        let form = |content: Option<&str>| request_to_sign(method, uri, &origin.name, ours, content);
        // A server may sign the bytes that it sends, or what any server makes of them. Numbers stay as they
        // stand, whether canonical JSON has them or not: events and EDUs are judged one by one.
        let as_sent = form(text);
        let mut canonical: Option<String> = None;
        for (signature, key) in &origin.signatures {
            let mut is_right = key.verifies(as_sent.as_bytes(), signature);
            if let (false, Some(text)) = (is_right, text) {
                if canonical.is_none() {
                    canonical = Some(form(Some(&canonical_json(&origin.name, text)?)));
                }
                is_right = canonical.as_ref().is_some_and(|form| key.verifies(form.as_bytes(), signature));
            }
            if is_right {
                origin.is_proven(app)?;
                log_user(&origin.name);
                app.outgoing.heard_from(&origin.name);
                return Ok(Self { origin: origin.name, content });
            }
        }
        Err(wrong_signature())
    }
}

/// The canonical JSON of a body, with its numbers as they stand. 413 `M_TOO_LARGE` if that takes too much
/// memory.
fn canonical_json(origin: &str, text: &str) -> Result<String, ApiError> {
    if objects(text) > MAX_OBJECTS {
        info!(origin, limit = "objects", "the body of another server's request is over a limit");
        crate::base::metrics::federation_limit("objects");
        return Err(ApiError::too_large());
    }
    let document = Document::parse(text).map_err(|error| ApiError::not_json(error.to_string()))?;
    Ok(document.canonical())
}
