//! Layers that record the use of access tokens.

use std::time::SystemTime;

use axum::extract::{OptionalFromRequestParts, Request, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::Response;

use super::peer::client_address;
use crate::accounts::first_use::FirstUse;
use crate::accounts::last_seen::LastSeen;
use crate::accounts::tokens::REFRESHED;
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;

/// Records the first use of a refreshed access token before the handler runs.
pub async fn record_first_use(
    State(first_use): State<FirstUse>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    if may_hold_refreshed(&parts)
        // The handler refuses a request with a malformed token.
        && let Ok(Some(token)) = AccessToken::from_request_parts(&mut parts, &()).await
    {
        first_use.record(token).await?;
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn may_hold_refreshed(parts: &Parts) -> bool {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    [header, parts.uri.query()].into_iter().flatten().any(|text| text.contains(REFRESHED))
}

/// Records when and where the device was seen, unless the token is unknown.
pub async fn note_last_seen(State(last_seen): State<LastSeen>, request: Request, next: Next) -> Response {
    let at = SystemTime::now();
    let (mut parts, body) = request.into_parts();
    // The handler refuses a request with a malformed token.
    let token = AccessToken::from_request_parts(&mut parts, &()).await.ok().flatten();
    let address = client_address(&parts.extensions, &parts.headers);
    let response = next.run(Request::from_parts(parts, body)).await;
    if let (Some(token), Some(address)) = (token, address)
        && response.status() != StatusCode::UNAUTHORIZED
    {
        last_seen.note(token, at, address);
    }
    response
}
