//! Client-Server API, "User-Interactive Authentication API".
//!
//! An endpoint that needs it reads its body as a JSON object, calls [`authorize`], and continues with the
//! body that this returns:
//! ```ignore
//! let guard = Guard { operation: "POST /delete_devices", user: Some(&session), flows: BY_PASSWORD };
//! let passed = uia::authorize(&app, &guard, body).await?;
//! ```
//! Sessions are in the database, so that any node continues what another began. A session is bound to the
//! operation, to the user, and to the first request's body: later requests repeat that body or omit it. The
//! database has only the hash of the session id, and the body encrypted with a key derived from the id.
//!
//! A client that loses the last answer repeats its request. If the endpoint noted its success by
//! [`Finished::note`], [`authorize`] returns that as [`Refusal::Done`], and the request is not carried out
//! again.

mod fallback;
mod seal;
mod stage;
mod terms;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::accounts::session::Session;
use crate::accounts::tokens;
use crate::app::App;
use crate::base::error::ApiError;
use crate::config::Policy;
use crate::http::{hash_token, json_response};

pub use fallback::routes;
pub use stage::{Stage, is_registration_token};

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The largest body that is stored, in bytes.
const MAX_REQUEST: usize = 65_536;
/// The same for requests without a user: anybody can make the server store one.
const MAX_ANONYMOUS_REQUEST: usize = 4096;

/// One flow: the user's password.
pub const BY_PASSWORD: Flows = &[&[Stage::Password]];

/// Flows: each is a list of stages to complete in order.
pub type Flows = &'static [&'static [Stage]];

/// The authentication that an endpoint demands.
pub struct Guard<'a> {
    /// Method and endpoint. A session is valid for one operation only.
    pub operation: &'static str,
    /// The user; `None` for registration.
    pub user: Option<&'a Session>,
    pub flows: Flows,
}

/// The result when all stages of a flow are complete.
pub struct Passed {
    /// The body of the first request, without `auth`.
    pub body: Map<String, Value>,
    /// The registration token of [`Stage::RegistrationToken`], whose use must still be counted.
    pub registration_token: Option<String>,
    /// The versions of the documents of [`Stage::Terms`], by their ids.
    pub agreed_terms: Option<Value>,
    /// The session.
    pub finished: Finished,
}

/// A finished session; none if the first request completed the flow, as it had none.
pub struct Finished(Option<[u8; 32]>);

impl Finished {
    /// Notes that the request was carried out, with the answer to the client. A failure is only logged: all
    /// that is lost is that the client can repeat its request.
    pub async fn note(&self, app: &App, result: &Value) {
        let Some(hash) = &self.0 else { return };
        let noted = app.db.query(include_str!("uia/succeed.sql"), &[&hash.as_slice(), result]).await;
        if noted.is_err() {
            warn!("the success of an authenticated request could not be noted");
        }
    }
}

/// A request that was carried out before.
pub struct Done {
    /// The body, without `auth`.
    pub body: Map<String, Value>,
    /// What [`Finished::note`] noted.
    pub result: Value,
}

/// Why a request is not authorized.
#[derive(Debug)]
pub enum Refusal {
    /// Another error than missing authentication.
    Error(ApiError),
    /// 401: the client must complete a stage. The answer's body.
    Challenge(Value),
    /// 200: the request was carried out before. The answer's body.
    Done(Value),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Error(error) => error.into_response(),
            Self::Challenge(body) => json_response(StatusCode::UNAUTHORIZED, body.to_string()),
            Self::Done(body) => json_response(StatusCode::OK, body.to_string()),
        }
    }
}

/// Why a stage is not complete: errcode and message.
type Failure = (&'static str, &'static str);

const SESSION_ENDED: Failure = ("M_UNKNOWN", "This session of user-interactive authentication has ended");

/// A session that is not finished.
struct UiaSession {
    id: String,
    /// Whether the session is stored. Clients that know the stages complete the first one in the first
    /// request, so that often nothing needs to be stored.
    stored: bool,
    body: Map<String, Value>,
    /// The versions of the documents of [`Stage::Terms`] that the last answer showed.
    presented: Option<Value>,
    /// The result of each completed stage, by the stage's name.
    completed: Map<String, Value>,
}

/// Checks the `auth` of a request's body, and authorizes the request if a flow is complete.
pub async fn authorize(
    app: &App,
    guard: &Guard<'_>,
    mut body: Map<String, Value>,
) -> Result<Passed, Refusal> {
    let auth = match body.remove("auth") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(auth)) => auth,
        Some(_) => return Err(ApiError::bad_json("auth must be an object").into()),
    };
    let mut session = match auth.get("session") {
        None | Some(Value::Null) => UiaSession::new(body),
        Some(Value::String(id)) => match Found::find(app, guard, id).await? {
            Some(Found::Open(session)) => session.with_body(body)?,
            Some(Found::Done(done)) if body.is_empty() || body == done.body => {
                return Err(Refusal::Done(done.result));
            }
            _ => return Err(UiaSession::new(body).challenge(app, guard, Some(SESSION_ENDED)).await),
        },
        Some(_) => return Err(ApiError::bad_json("auth.session must be a string").into()),
    };
    let tried = match auth.get("type") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err(ApiError::bad_json("auth.type must be a string").into()),
    };
    // A completed stage counts as completed again.
    if let Some(name) = tried.filter(|name| !session.completed.contains_key(*name)) {
        let proof = match next_stages(guard.flows, &session.completed).find(|stage| stage.name() == name) {
            Some(stage) => stage.check(app, guard.user, session.presented.as_ref(), &auth).await?,
            None => Err(("M_UNRECOGNIZED", "This stage is not one of those that come next")),
        };
        match proof {
            Ok(proof) => session.completed.insert(name.to_owned(), proof),
            Err(failure) => return Err(session.challenge(app, guard, Some(failure)).await),
        };
    }
    if !is_complete(guard.flows, &session.completed) {
        return Err(session.challenge(app, guard, None).await);
    }
    session.finish(app, guard).await
}

/// The request that this one repeats, if that was carried out. It must have the same body: the session id
/// alone is in the URLs of fallback pages, and may be seen by others.
pub async fn done(
    app: &App,
    guard: &Guard<'_>,
    request: &Map<String, Value>,
) -> Result<Option<Done>, ApiError> {
    let session = request.get("auth").and_then(|auth| auth.get("session")?.as_str());
    let Some(id) = session else { return Ok(None) };
    let Some(Found::Done(done)) = Found::find(app, guard, id).await? else { return Ok(None) };
    let mut body = request.clone();
    body.remove("auth");
    Ok((body == done.body).then_some(done))
}

/// Whether a flow includes the documents.
fn has_terms(flows: Flows) -> bool {
    flows.iter().any(|flow| flow.contains(&Stage::Terms))
}

/// Whether one of the flows is complete.
fn is_complete(flows: Flows, completed: &Map<String, Value>) -> bool {
    flows.iter().any(|flow| flow.iter().all(|stage| completed.contains_key(stage.name())))
}

/// The stages that may be tried now: in each flow the first that is not complete.
fn next_stages(flows: Flows, completed: &Map<String, Value>) -> impl Iterator<Item = Stage> {
    flows.iter().filter_map(|flow| flow.iter().find(|stage| !completed.contains_key(stage.name())).copied())
}

/// A stored session.
enum Found {
    Open(UiaSession),
    Done(Done),
}

impl Found {
    /// Finds a session. `None` if it is unknown or has ended, or belongs to another user or operation.
    async fn find(app: &App, guard: &Guard<'_>, id: &str) -> Result<Option<Self>, ApiError> {
        let hash = hash_token(id);
        let Some(row) = app.db.query_opt(include_str!("uia/find.sql"), &[&hash.as_slice()]).await? else {
            return Ok(None);
        };
        let user_nid: Option<i64> = row.get("user_nid");
        let operation: &str = row.get("operation");
        if operation != guard.operation || user_nid != guard.user.map(|user| user.user_nid) {
            return Ok(None);
        }
        let request = seal::open(id, row.get("request")).ok_or_else(ApiError::internal)?;
        let (Ok(body), Value::Object(completed)) = (serde_json::from_slice(&request), row.get("completed"))
        else {
            return Err(ApiError::internal());
        };
        if let Some(result) = row.get("result") {
            return Ok(Some(Self::Done(Done { body, result })));
        }
        let presented = row.get("presented_terms");
        Ok(Some(Self::Open(UiaSession { id: id.to_owned(), stored: true, body, presented, completed })))
    }
}

impl UiaSession {
    fn new(body: Map<String, Value>) -> Self {
        Self { id: tokens::random(""), stored: false, body, presented: None, completed: Map::new() }
    }

    /// Checks a later request's body against the first one's. Some clients omit the body when they complete a
    /// stage. Others first send an empty one to learn the flows, and the real one when they complete the
    /// first stage.
    fn with_body(mut self, body: Map<String, Value>) -> Result<Self, ApiError> {
        if body.is_empty() || body == self.body {
            Ok(self)
        } else if self.body.is_empty() && self.completed.is_empty() {
            self.body = body;
            Ok(self)
        } else {
            Err(ApiError::forbidden("The request differs from the one that began its authentication"))
        }
    }

    /// Stores the session, and returns the answer that demands the next stage.
    async fn challenge(mut self, app: &App, guard: &Guard<'_>, failure: Option<Failure>) -> Refusal {
        match self.store(app, guard).await {
            Ok(true) => Refusal::Challenge(self.describe(guard, &app.config.registration.terms, failure)),
            // Another request finished the session, or it expired.
            Ok(false) => {
                self = Self::new(self.body);
                match self.store(app, guard).await {
                    Ok(_) => {
                        let policies = &app.config.registration.terms;
                        Refusal::Challenge(self.describe(guard, policies, Some(SESSION_ENDED)))
                    }
                    Err(error) => error.into(),
                }
            }
            Err(error) => error.into(),
        }
    }

    /// Stores the progress. Returns false if the session has ended.
    async fn store(&mut self, app: &App, guard: &Guard<'_>) -> Result<bool, ApiError> {
        let request = Value::Object(self.body.clone()).to_string();
        if request.len() > if guard.user.is_some() { MAX_REQUEST } else { MAX_ANONYMOUS_REQUEST } {
            return Err(ApiError::too_large());
        }
        let hash = hash_token(&self.id);
        let hash = hash.as_slice();
        let request = seal::seal(&self.id, request.into_bytes()).ok_or_else(ApiError::internal)?;
        let completed = Value::Object(self.completed.clone());
        self.presented = has_terms(guard.flows).then(|| terms::versions(&app.config.registration.terms));
        if self.stored {
            let sql = include_str!("uia/advance.sql");
            let Some(row) = app.db.query_opt(sql, &[&hash, &request, &completed, &self.presented]).await?
            else {
                return Ok(false);
            };
            if let Value::Object(completed) = row.get("completed") {
                self.completed = completed;
            }
        } else {
            let user_nid = guard.user.map(|user| user.user_nid);
            let seconds = LIFETIME.as_secs_f64();
            let sql = include_str!("uia/insert.sql");
            app.db
                .query(
                    sql,
                    &[&hash, &guard.operation, &user_nid, &request, &completed, &seconds, &self.presented],
                )
                .await?;
            self.stored = true;
        }
        Ok(true)
    }

    /// The body of the 401.
    fn describe(&self, guard: &Guard<'_>, policies: &[Policy], failure: Option<Failure>) -> Value {
        let flows: Vec<_> = guard
            .flows
            .iter()
            .map(|flow| json!({ "stages": flow.iter().map(|stage| stage.name()).collect::<Vec<_>>() }))
            .collect();
        let completed: Vec<_> = self.completed.keys().collect();
        let mut body = json!({ "flows": flows, "params": {}, "session": self.id, "completed": completed });
        if has_terms(guard.flows) {
            body["params"][Stage::Terms.name()] = terms::params(policies);
        }
        if let Some((errcode, error)) = failure {
            body["errcode"] = errcode.into();
            body["error"] = error.into();
        }
        body
    }

    /// Ends the session, so that it authorizes only one request.
    async fn finish(mut self, app: &App, guard: &Guard<'_>) -> Result<Passed, Refusal> {
        let hash = hash_token(&self.id);
        if self.stored
            && app.db.query_opt(include_str!("uia/finish.sql"), &[&hash.as_slice()]).await?.is_none()
        {
            return Err(Self::new(self.body).challenge(app, guard, Some(SESSION_ENDED)).await);
        }
        let registration_token = match self.completed.remove(Stage::RegistrationToken.name()) {
            Some(Value::String(token)) => Some(token),
            _ => None,
        };
        let agreed_terms = self.completed.remove(Stage::Terms.name());
        let finished = Finished(self.stored.then_some(hash));
        Ok(Passed { body: self.body, registration_token, agreed_terms, finished })
    }
}
