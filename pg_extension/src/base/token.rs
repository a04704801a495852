//! Tokens of clients, read and made by what the database knows: which generation runs, and where earlier ones
//! ended.

use std::ffi::CStr;

use matriarch_rules::sync_token::{self, SyncToken};
use pgrx::{direct_function_call, direct_function_call_as_datum, pg_sys};

use crate::base::{
    generation::{self, End},
    response::{MatrixError, Result},
    spi::{Db, Mode},
};

/// The token of the present: the snapshot of the calling statement ([`Mode::Read`]), or a new one
/// ([`Mode::Write`]).
pub fn now(db: &Db<'_>) -> SyncToken {
    let text = match db.mode() {
        Mode::Read => active_snapshot(),
        Mode::Write => db.query_one("select pg_current_snapshot()::text as snapshot", &[]).get("snapshot"),
    };
    SyncToken::from_snapshot(&text, generation::mark(db))
        .unwrap_or_else(|| panic!("cannot read the snapshot {text}"))
}

/// The snapshot of a STABLE function's statements in PostgreSQL's form, read without running a statement.
fn active_snapshot() -> String {
    // SAFETY: `pg_current_snapshot` takes no argument, and `pg_snapshot_out` takes its result. Both need an
    // active snapshot, which every function call has.
    let text: Option<&CStr> = unsafe {
        let snapshot = direct_function_call_as_datum(pg_sys::pg_current_snapshot, &[]);
        direct_function_call(pg_sys::pg_snapshot_out, &[snapshot])
    };
    text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads a sync token. `now` is [`now`]. `None` for a text that this cluster cannot have given out.
///
/// A token of an earlier generation sees transactions of before the end of that generation only, whatever its
/// ids.
fn read(db: &Db<'_>, text: &str, now: &SyncToken) -> Option<SyncToken> {
    let token = SyncToken::read(text)?;
    if token.generation() == now.generation() {
        return (token.xmax() <= now.xmax()).then_some(token);
    }
    // The mark becomes a query parameter, and PostgreSQL text cannot hold U+0000.
    if !token.generation().bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let end = match generation::end_of(db, token.generation())? {
        End::Before(xid) => xid.0.min(now.xmax()),
        End::Now => now.xmax(),
    };
    Some(token.ended_at(end))
}

/// A token of either kind. Endpoints that page through a room accept both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A sync token.
    Sync(SyncToken),
    /// A pagination token, `t<pos>`: it stands after all events up to that position.
    Position(i64),
}

impl Token {
    /// Reads the token in the parameter `name`; 400 `M_INVALID_PARAM` for one that this cluster did not give
    /// out. `now` is [`now`].
    pub fn parse(db: &Db<'_>, name: &str, text: &str, now: &SyncToken) -> Result<Self> {
        sync_token::position(text)
            .map(Self::Position)
            .or_else(|| read(db, text, now).map(Self::Sync))
            .ok_or_else(|| refuse(name))
    }
}

/// Reads the sync token in the parameter `name`; 400 `M_INVALID_PARAM` for one that this cluster did not give
/// out. `now` is [`now`].
pub fn sync_token(db: &Db<'_>, name: &str, text: &str, now: &SyncToken) -> Result<SyncToken> {
    read(db, text, now).ok_or_else(|| refuse(name))
}

fn refuse(name: &str) -> MatrixError {
    MatrixError::invalid_param(format!("`{name}` is not a token of this server."))
}
