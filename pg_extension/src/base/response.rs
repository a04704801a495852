//! What a function that serves a request returns: an HTTP status, the JSON body, and the rooms and users to
//! wake.

use matriarch_rules::filter::FilterError;
use pgrx::{PgLogLevel, PgSqlErrorCode, iter::TableIterator, pg_sys::panic::ErrorReport};
use serde_json::{Map, Value, json};

use crate::base::{
    connection::connect,
    spi::{Db, Mode},
};

/// 428 Precondition Required: the API node has the event in the body signed first. Clients never get this
/// status.
pub const NEEDS_SIGNATURE: i16 = 428;

/// A Matrix error: `errcode` and `error` with their HTTP status (Client-Server API, "Standard error
/// response").
#[derive(Debug, Clone)]
pub struct MatrixError {
    pub status: i16,
    pub errcode: &'static str,
    pub error: String,
    /// Further keys of the body, such as `soft_logout`.
    pub extra: Map<String, Value>,
}

impl MatrixError {
    pub fn new(status: i16, errcode: &'static str, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into(), extra: Map::new() }
    }

    /// Adds a key to the body.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Changes the status to 421: the API node asks another server, and returns this error if none can help.
    pub fn or_elsewhere(self) -> Self {
        Self { status: 421, ..self }
    }

    /// Sets the response that the client gets once the event was signed and appended, if it is not `{}`.
    pub fn or_answer(self, answer: Value) -> Self {
        if self.needs_signature() { self.with("answer", answer) } else { self }
    }

    /// Whether a policy server must sign an event first.
    pub fn needs_signature(&self) -> bool {
        self.status == NEEDS_SIGNATURE
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

    /// The JSON body.
    pub fn body(self) -> String {
        let mut body = self.extra;
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
    /// Events that are appended once a policy server has signed them: `append::append_once_signed`.
    pub unsigned: Vec<Value>,
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
    pgrx::name!(body, String),
    pgrx::name!(wake_rooms, Option<Vec<i64>>),
    pgrx::name!(wake_users, Option<Vec<i64>>),
);

/// The return type of functions that serve requests: `setof matriarch.response`.
pub type ResponseRows = TableIterator<'static, ResponseRow>;

/// 202 Accepted: the client gets the answer as 200; the API node also has events signed by policy servers.
const SIGN_AFTERWARDS: i16 = 202;

fn signed_afterwards(answer: &str, unsigned: Vec<Value>) -> String {
    json!({ "answer": answer, "unsigned": unsigned }).to_string()
}

/// Encodes one response.
pub fn row(result: Result<Response>) -> ResponseRow {
    let non_empty = |nids: Vec<i64>| (!nids.is_empty()).then_some(nids);
    match result {
        Ok(response) => {
            let (status, body) = match response.unsigned {
                none if none.is_empty() => (200, response.body),
                unsigned => (SIGN_AFTERWARDS, signed_afterwards(&response.body, unsigned)),
            };
            (status, body, non_empty(response.wake_rooms), non_empty(response.wake_users))
        }
        Err(error) => (error.status, error.body(), None, None),
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
