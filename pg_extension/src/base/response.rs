//! What a function that serves a request returns: an HTTP status, the JSON body, the rooms and users to wake,
//! and an outcome where the answer is not, or not only, the client's.

use matriarch_rules::filter::FilterError;
use matriarch_wire::{Afterwards, Outcome, Unsigned};
use pgrx::{PgLogLevel, PgSqlErrorCode, iter::TableIterator, pg_sys::panic::ErrorReport};
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::base::{
    connection::connect,
    spi::{Db, Mode},
};

/// The most bytes of `error`, which may quote what a client sent. PostgreSQL logs the errors that end a
/// statement.
const MAX_ERROR_BYTES: usize = 1000;

/// A Matrix error: `errcode` and `error` with their HTTP status (Client-Server API, "Standard error
/// response").
#[derive(Debug, Clone)]
pub struct MatrixError {
    pub status: i16,
    pub errcode: &'static str,
    pub error: String,
    /// Further keys of the body, such as `soft_logout`.
    pub extra: Map<String, Value>,
    /// What the API node is to do before the client gets this answer, if that does not help.
    pub outcome: Option<Outcome>,
    /// With [`Outcome::SignFirst`]: the event.
    pub unsigned: Option<Box<Unsigned>>,
}

impl MatrixError {
    pub fn new(status: i16, errcode: &'static str, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, errcode, error, extra: Map::new(), outcome: None, unsigned: None }
    }

    /// Adds a key to the body.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// The same, unless another server can do what is asked: the API node may look for one.
    pub fn or_elsewhere(self) -> Self {
        self.with_outcome(Outcome::Elsewhere)
    }

    /// The same, unless the API node can do what `outcome` says.
    pub fn with_outcome(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self }
    }

    /// 403 `M_FORBIDDEN`, unless the room's policy server signs the event. Nothing was written yet.
    pub fn sign_first(unsigned: Unsigned) -> Self {
        let error = Self::forbidden("The room's policy server must sign the event.");
        Self { unsigned: Some(Box::new(unsigned)), ..error.with_outcome(Outcome::SignFirst) }
    }

    /// Sets the response that the client gets once the event was signed and appended, if it is not `{}`.
    pub fn or_answer(mut self, answer: Value) -> Self {
        if let Some(unsigned) = &mut self.unsigned {
            unsigned.answer = answer;
        }
        self
    }

    /// 403 `M_FORBIDDEN`
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(403, "M_FORBIDDEN", error)
    }

    /// 404 `M_NOT_FOUND`
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(404, "M_NOT_FOUND", error)
    }

    /// 400 `M_INVALID_PARAM`
    pub fn invalid_param(error: impl Into<String>) -> Self {
        Self::new(400, "M_INVALID_PARAM", error)
    }

    /// 400 `M_MISSING_PARAM`
    pub fn missing_param(error: impl Into<String>) -> Self {
        Self::new(400, "M_MISSING_PARAM", error)
    }

    /// 400 `M_BAD_JSON`
    pub fn bad_json(error: impl Into<String>) -> Self {
        Self::new(400, "M_BAD_JSON", error)
    }

    /// 413 `M_TOO_LARGE`: more than a user may store.
    pub fn too_large(error: impl Into<String>) -> Self {
        Self::new(413, "M_TOO_LARGE", error)
    }

    /// The JSON body.
    pub fn body(mut self) -> String {
        self.error.truncate(self.error.floor_char_boundary(MAX_ERROR_BYTES));
        let mut body = self.unsigned.as_deref().map(to_object).unwrap_or_default();
        body.extend(self.extra);
        body.insert("errcode".to_owned(), self.errcode.into());
        body.insert("error".to_owned(), self.error.into());
        Value::Object(body).to_string()
    }

    /// Ends the statement with an ERROR that the API node turns into this response (SQLSTATE 38000, the body
    /// as message, the status as detail). Only for requests that have written something, which must be rolled
    /// back; everywhere else return the error.
    pub fn abort(self) -> ! {
        let status = self.status.to_string();
        ErrorReport::new(PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, self.body(), "matriarch")
            .set_detail(status)
            .report(PgLogLevel::ERROR);
        unreachable!("an ERROR report does not return")
    }
}

impl From<FilterError> for MatrixError {
    /// 400 `M_BAD_JSON`
    fn from(error: FilterError) -> Self {
        Self::bad_json(error.to_string())
    }
}

/// The result of serving a request.
pub type Result<T> = std::result::Result<T, MatrixError>;

/// The successful response to a request.
#[derive(Debug, Default)]
pub struct Response {
    pub body: String,
    /// Rooms whose waiting syncs have news once this transaction commits.
    pub wake_rooms: Vec<i64>,
    /// Users whose waiting syncs have news once this transaction commits.
    pub wake_users: Vec<i64>,
    /// Events that are appended once a policy server has signed them: `append::append_once_signed`. With any,
    /// the outcome is [`Outcome::SignAfterwards`].
    pub unsigned: Vec<Unsigned>,
    /// What the API node can do for a better answer than this one.
    pub outcome: Option<Outcome>,
}

impl Response {
    /// A response that wakes no sync.
    pub fn new(body: String) -> Self {
        Self { body, ..Self::default() }
    }

    /// The response `{}`.
    pub fn empty() -> Self {
        Self::new("{}".to_owned())
    }

    /// A response from a JSON value.
    pub fn json(value: &Value) -> Self {
        Self::new(value.to_string())
    }

    /// An answer that the API node reads.
    pub fn wire(value: &impl Serialize) -> Self {
        Self::new(to_json(value))
    }

    /// The same, unless another server can serve the request better.
    pub fn or_elsewhere(self) -> Self {
        Self { outcome: Some(Outcome::Elsewhere), ..self }
    }

    pub fn wake_room(mut self, room_nid: i64) -> Self {
        self.wake_rooms.push(room_nid);
        self
    }

    pub fn wake_user(mut self, user_nid: i64) -> Self {
        self.wake_users.push(user_nid);
        self
    }
}

/// A row of the SQL type `matriarch.response`.
pub type ResponseRow = (
    pgrx::name!(status, i16),
    pgrx::name!(outcome, Option<&'static str>),
    pgrx::name!(body, String),
    pgrx::name!(wake_rooms, Option<Vec<i64>>),
    pgrx::name!(wake_users, Option<Vec<i64>>),
);

/// The return type of functions that serve requests: `setof matriarch.response`.
pub type ResponseRows = TableIterator<'static, ResponseRow>;

/// A structure as JSON text. What crosses to the API nodes has only keys that are strings.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| panic!("a value has no JSON: {error}"))
}

/// A structure as a JSON object; empty for one that is none.
pub fn to_object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// The body beside which there are events to be signed.
fn signed_afterwards(answer: String, unsigned: Vec<Unsigned>) -> String {
    let answer = RawValue::from_string(answer).unwrap_or_else(|error| panic!("a body is not JSON: {error}"));
    to_json(&Afterwards { answer, unsigned })
}

/// Encodes one response.
pub fn row(result: Result<Response>) -> ResponseRow {
    let non_empty = |nids: Vec<i64>| (!nids.is_empty()).then_some(nids);
    match result {
        Ok(response) => {
            let (outcome, body) = match response.unsigned {
                none if none.is_empty() => (response.outcome, response.body),
                unsigned => (Some(Outcome::SignAfterwards), signed_afterwards(response.body, unsigned)),
            };
            let (wake_rooms, wake_users) = (non_empty(response.wake_rooms), non_empty(response.wake_users));
            (200, outcome.map(Outcome::name), body, wake_rooms, wake_users)
        }
        Err(error) => (error.status, error.outcome.map(Outcome::name), error.body(), None, None),
    }
}

/// Serves one request: connects, works, encodes.
pub fn respond(mode: Mode, work: impl FnOnce(&Db<'_>) -> Result<Response>) -> ResponseRows {
    TableIterator::once(row(connect(mode, work)))
}

/// The body `{"key": value}`.
pub fn single(key: &str, value: impl Into<Value>) -> Response {
    let value: Value = value.into();
    Response::json(&json!({ key: value }))
}
