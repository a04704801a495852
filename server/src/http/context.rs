//! The layer around every handler: request id, log span, metrics, statement count, panics.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tracing::{Instrument, debug, error, field, info_span, warn};

use crate::app::App;
use crate::base::current_request::with_client;
use crate::base::error::ApiError;
use crate::base::statements::with_statement_counter;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const STATEMENTS: HeaderName = HeaderName::from_static("x-matriarch-db-statements");

/// The request's id, for its answer and its log lines.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Uses the id of a proxy if it is short and plain, otherwise creates one.
    fn of(request: &Request) -> Self {
        let plain = |value: &&HeaderValue| {
            !value.is_empty() && value.len() <= 128 && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        let made = || {
            let id = format!("{:016x}", rand::random::<u64>());
            // Sixteen hexadecimal digits are a valid header value.
            HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
        };
        Self(request.headers().get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(made))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Opens the request's span, and adds the log line, metrics and headers when it is answered.
///
/// The handler runs in a task of its own, so that it continues if the client disconnects: its commit must
/// still be followed by the wake-ups. A panic, which is a bug, ends only the task and becomes a 500.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let method = request.method().clone();
    let endpoint = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let span = info_span!("request", id = id.as_str(), %method, endpoint, user = field::Empty);
    request.extensions_mut().insert(id.clone());

    let (_client, gone) = watch::channel(());
    let handler = with_client(gone, with_statement_counter(next.run(request))).instrument(span.clone());
    let (mut response, statements) = tokio::spawn(handler).await.unwrap_or_else(|cause| {
        span.in_scope(|| error!(%cause, "a handler did not end"));
        (ApiError::internal().into_response(), 0)
    });

    let status = response.status();
    let elapsed = started.elapsed();
    crate::base::metrics::request(method.as_str(), &endpoint, status.as_u16(), elapsed, statements);
    span.in_scope(|| {
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        if status.is_server_error() {
            warn!(status = status.as_u16(), elapsed_ms, statements, "request failed");
        } else {
            debug!(status = status.as_u16(), elapsed_ms, statements, "request answered");
        }
    });
    response.headers_mut().insert(REQUEST_ID, id.0);
    // No answer is what a browser may take it for by its contents.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if app.config.debug.statements_header {
        response.headers_mut().insert(STATEMENTS, HeaderValue::from(statements));
    }
    response
}
