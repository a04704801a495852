//! The layer that reads bodies, within the limits of the configuration.
//!
//! A body is read whole before the handler runs, so that a refused request does not have its connection
//! closed while the client sends. Memory is bounded before it is taken: a body over [`SMALL`] bytes is only
//! read for who has shown a valid token, or is a server whose key is known, and all that a node reads and
//! parses at the same time has its part in one budget.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use matriarch_rules::json::MAX_NESTING;
use tokio::time::{Instant, timeout_at};

use super::origin::Origin;
use super::peer::Network;
use crate::accounts::session::Session;
use crate::app::App;
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::base::json_size::JsonSize;
use crate::base::limit;
use crate::base::memory::{Full, Holder, Reservation};

/// The longest request of another server, in bytes: a full transaction of events and EDUs of the maximum
/// length.
const SERVER_BODY: usize = 12 * 1024 * 1024;
/// The route of transactions.
const TRANSACTION: &str = "/_matrix/federation/v1/send/{txn_id}";
/// The most JSON objects and arrays in a transaction. One bad item that has many does not spoil the others.
const MAX_OBJECTS_IN_TRANSACTION: usize = 1_000_000;
/// The most bytes of a body of somebody unknown, and of one whose sender is not looked for.
const SMALL: usize = 64 * 1024;
/// The most objects and arrays in such a body.
const SMALL_OBJECTS: usize = 1000;
/// A body over the limit is still read, and discarded, up to this many times the limit, so that a client that
/// is still sending sees the answer and not a closed connection.
const DRAINED_LIMITS: usize = 16;

/// Whose bodies an endpoint reads.
#[derive(Clone, Copy, PartialEq)]
enum Audience {
    /// Users, who have an access token.
    Users,
    /// Other servers, which sign their requests.
    Servers,
    /// The same, for transactions: they are long, and read item by item.
    Transactions,
    /// Anybody.
    Anybody,
}

impl Audience {
    /// By the route that was matched, which exists only on listeners that serve it.
    fn of(parts: &Parts) -> Self {
        let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        if path == TRANSACTION {
            Self::Transactions
        } else if path.starts_with("/_matrix/federation/") {
            Self::Servers
        } else if path.starts_with("/_matrix/client/") {
            Self::Users
        } else {
            Self::Anybody
        }
    }
}

impl Audience {
    fn is_server(self) -> bool {
        matches!(self, Self::Servers | Self::Transactions)
    }

    /// The most JSON objects and arrays in a body.
    fn max_objects(self, app: &App) -> usize {
        match self {
            Self::Transactions => MAX_OBJECTS_IN_TRANSACTION,
            _ => app.config.limits.max_json_objects,
        }
    }

    /// About how many bytes a body takes.
    fn memory(self, size: &JsonSize) -> usize {
        match self {
            Self::Transactions => size.memory_as_text(),
            _ => size.memory(),
        }
    }
}

/// Reads the body of a request, and runs the handler with it.
pub async fn read_body(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let reading = Reading::new(&app, &parts);
    match reading.read(&app, &mut parts, body).await {
        // The reservation lasts until the handler has ended.
        Ok((bytes, _reservation)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(refusal) => refusal,
    }
}

/// A body that is being read.
struct Reading {
    audience: Audience,
    network: Network,
    limit: usize,
    bytes: Vec<u8>,
    size: JsonSize,
    reservation: Reservation,
    is_known: bool,
}

impl Reading {
    fn new(app: &App, parts: &Parts) -> Self {
        let audience = Audience::of(parts);
        let network = Network::of(parts);
        let max_body_size = app.config.limits.max_body_size;
        let limit = match audience {
            Audience::Users => max_body_size,
            Audience::Servers | Audience::Transactions => max_body_size.max(SERVER_BODY),
            Audience::Anybody => max_body_size.min(SMALL),
        };
        Self {
            audience,
            network,
            limit,
            bytes: Vec::new(),
            size: JsonSize::default(),
            reservation: app.memory.reserve(Holder::Network(network.0)),
            is_known: false,
        }
    }

    async fn read(
        mut self,
        app: &App,
        parts: &mut Parts,
        mut body: Body,
    ) -> Result<(Bytes, Reservation), Response> {
        let mut refusal = self.find_origin(app, parts).await.err();
        let began = Instant::now();
        let mut received = 0_usize;
        loop {
            let deadline = began + app.config.limits.body_time(received);
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                // The client has disconnected.
                Ok(Some(Err(_))) => return Err(StatusCode::BAD_REQUEST.into_response()),
                Err(_) => {
                    limit::reached("body_time", self.network);
                    let message = "The body did not arrive in time";
                    return Err(closing(ApiError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", message)));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            received = received.saturating_add(data.len());
            if refusal.is_none()
                && let Err(error) = self.take(app, parts, &data).await
            {
                self.bytes = Vec::new();
                self.reservation.release();
                refusal = Some(error);
            }
            if received > app.config.limits.max_body_size.max(self.limit).saturating_mul(DRAINED_LIMITS) {
                break;
            }
        }
        match refusal {
            None => Ok((self.bytes.into(), self.reservation)),
            Some(error) if received > self.limit => Err(closing(error)),
            Some(error) => Err(error.into_response()),
        }
    }

    /// Takes the next part of the body.
    async fn take(&mut self, app: &App, parts: &mut Parts, data: &[u8]) -> Result<(), ApiError> {
        self.size.read(data);
        let size = self.size;
        if size.bytes > self.limit {
            limit::reached("body", self.network);
            return Err(ApiError::too_large());
        }
        // What is no JSON, such as a form, is small. What servers send is judged item by item: one that is
        // too deep does not spoil the others.
        if size.depth > MAX_NESTING && !self.audience.is_server() {
            limit::reached("json_depth", self.network);
            return Err(ApiError::bad_json(format!("nested deeper than {MAX_NESTING} levels")));
        }
        if size.containers > self.audience.max_objects(app) {
            limit::reached("json_objects", self.network);
            return Err(ApiError::too_large());
        }
        if !self.is_known && (size.bytes > SMALL || size.containers > SMALL_OBJECTS) {
            self.identify(app, parts).await?;
            self.is_known = true;
        }
        self.reservation.grow(self.audience.memory(&size)).map_err(|full| self.no_room(full))?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Looks for the keys of the server that signed the request, before anything of its body is read.
    async fn find_origin(&mut self, app: &App, parts: &mut Parts) -> Result<(), ApiError> {
        if self.audience.is_server()
            && let Some(origin) = Origin::of(app, parts).await?
        {
            parts.extensions.insert(origin);
            self.is_known = true;
        }
        Ok(())
    }

    /// Finds out whose body it is: of a user, or of nobody known.
    async fn identify(&self, app: &App, parts: &mut Parts) -> Result<(), ApiError> {
        let token = match self.audience {
            Audience::Users => Option::<AccessToken>::from_request_parts(parts, &()).await?,
            _ => None,
        };
        if let Some(token) = token {
            return Session::of(&app.db, &token).await.map(|_| ());
        }
        limit::reached("body_of_unknown", self.network);
        Err(ApiError::too_large())
    }

    fn no_room(&self, full: Full) -> ApiError {
        limit::reached(full.name(), self.network);
        ApiError::limit_exceeded("The server is dealing with too many long requests; try again", 1000)
    }
}

/// An answer that closes the connection.
fn closing(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
