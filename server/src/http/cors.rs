//! Client-Server API, "Web Browser Clients": `OPTIONS` on every path, and three headers on every answer.
//!
//! Only of that API: what else the node serves is for programs, and no web page may read it.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization"),
    ),
];

/// Answers `OPTIONS`, and adds the headers to every other answer, where web pages may come: on the routes of
/// the Client-Server API and, if the listener serves that API (`serves_clients`), on paths that are no
/// endpoint's, whose error they may read.
pub async fn cors(State(serves_clients): State<bool>, request: Request, next: Next) -> Response {
    let is_for_pages = match request.extensions().get::<MatchedPath>() {
        Some(path) => {
            path.as_str().starts_with("/_matrix/client/") || path.as_str().starts_with("/.well-known/")
        }
        None => serves_clients,
    };
    if !is_for_pages {
        return next.run(request).await;
    }
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}
