//! The layers around every handler: request id, log span, metrics, statement count, panics, whole bodies.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Instrument, debug, error, field, info, info_span, warn};

use crate::app::App;
use crate::base::current_request::with_client;
use crate::base::error::ApiError;
use crate::base::statements::with_statement_counter;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const STATEMENTS: HeaderName = HeaderName::from_static("x-matriarch-db-statements");

/// A body over the limit is still read, and discarded, up to this many times the limit, so that a client that
/// is still sending sees the answer and not a closed connection.
const DRAINED_LIMITS: usize = 16;

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
    if app.config.debug.statements_header {
        response.headers_mut().insert(STATEMENTS, HeaderValue::from(statements));
    }
    response
}

/// The longest request of another server, in bytes: a full transaction of events and EDUs of the maximum
/// length.
const SERVER_BODY: usize = 12 * 1024 * 1024;

/// A longer request, in bytes, takes much memory when it is parsed, so few such run at the same time.
const LONG_BODY: usize = 4 * 1024 * 1024;
const LONG_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the whole body before the handler runs, up to `limits.max_body_size`. Other servers may send more,
/// because their transactions contain many events, within `federation.request_timeout`.
///
/// If a handler refused a request and left its body unread, the connection would be closed while the client
/// sends.
pub async fn buffer_body(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let limit = app.config.limits.max_body_size;
    let body = if parts.uri.path().starts_with("/_matrix/federation/") {
        let time = Duration::from_secs(app.config.federation.request_timeout);
        match timeout(time, read_body(body, limit.max(SERVER_BODY))).await {
            Ok(Err(refusal)) if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                server_body_limit("body");
                Err(refusal)
            }
            Ok(body) => body,
            Err(_) => {
                server_body_limit("body_time");
                let message = "The body did not arrive in time";
                Err(closing(ApiError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", message)))
            }
        }
    } else {
        read_body(body, limit).await
    };
    match body {
        Ok(bytes) if bytes.len() > LONG_BODY => {
            let Some(_permit) = app.federation.long_bodies.take(1, LONG_BODY_TIMEOUT).await else {
                server_body_limit("long_bodies");
                let message = "Too many long requests are under way";
                return ApiError::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", message)
                    .into_response();
            };
            next.run(Request::from_parts(parts, Body::from(bytes))).await
        }
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(refusal) => refusal,
    }
}

fn server_body_limit(limit: &'static str) {
    info!(limit, "the body of another server's request is over a limit");
    crate::base::metrics::federation_limit(limit);
}

/// An answer that closes the connection.
fn closing(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, Response> {
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // The client has disconnected.
            return Err(StatusCode::BAD_REQUEST.into_response());
        };
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
        }
        if length > limit.saturating_mul(DRAINED_LIMITS) {
            break;
        }
    }
    if length > limit {
        return Err(closing(ApiError::too_large()));
    }
    Ok(bytes.into())
}
