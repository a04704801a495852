//! Sync tokens (`s…`) and pagination tokens, which are positions in a room's timeline (`t…`).
//!
//! A sync token is a PostgreSQL snapshot. The rows whose `xid` it does not see are new since the token. That
//! is exact in whatever order transactions commit, and no reader waits for a long transaction.

use std::ffi::CStr;

use pgrx::{direct_function_call, direct_function_call_as_datum, pg_sys};

use crate::base::{
    generation::{self, End},
    response::{MatrixError, Result},
    spi::{Db, Mode, Xid},
};

/// More transactions than any cluster has in progress. Bounds the memory that a forged token takes.
const MAX_IN_PROGRESS: usize = 10_000;

/// A sync token. Its text is
/// `s<generation>_<xmin>_<xmax - xmin>[_<offset from xmin of each transaction in progress>…][~<message_id>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncToken {
    /// The mark of the generation that the transaction ids belong to.
    generation: String,
    xmin: u64,
    xmax: u64,
    /// Ascending, from `xmin` up to below `xmax`.
    in_progress: Vec<u64>,
    /// Of the send-to-device messages that the token sees, it acknowledges those up to this id; all of them
    /// if `None`.
    pub message_id: Option<i64>,
}

impl SyncToken {
    /// The present: the snapshot of the calling statement ([`Mode::Read`]), or a new one ([`Mode::Write`]).
    pub fn current(db: &Db<'_>) -> Self {
        let text = match db.mode() {
            Mode::Read => active_snapshot(),
            Mode::Write => {
                db.query_one("select pg_current_snapshot()::text as snapshot", &[]).get("snapshot")
            }
        };
        Self::from_snapshot(&text, generation::mark(db))
            .unwrap_or_else(|| panic!("cannot read the snapshot {text}"))
    }

    /// Reads PostgreSQL's form, `xmin:xmax:xip,…`.
    fn from_snapshot(text: &str, generation: String) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let in_progress = list.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
        let in_progress = in_progress.collect::<Option<_>>()?;
        Some(Self { generation, xmin, xmax, in_progress, message_id: None })
    }

    /// PostgreSQL's form, for parameters that a statement casts to `pg_snapshot`.
    pub fn snapshot(&self) -> String {
        let list: Vec<String> = self.in_progress.iter().map(u64::to_string).collect();
        format!("{}:{}:{}", self.xmin, self.xmax, list.join(","))
    }

    /// Reads a token. `now` is [`current`](Self::current). `None` for a text that this cluster cannot have
    /// given out.
    ///
    /// A token of an earlier generation sees transactions of before the end of that generation only, whatever
    /// its ids.
    fn parse(db: &Db<'_>, text: &str, now: &Self) -> Option<Self> {
        let (generation, rest) = text.strip_prefix('s')?.split_once('_')?;
        let token = Self::parse_snapshot(generation, rest)?;
        if token.generation == now.generation {
            return (token.xmax <= now.xmax).then_some(token);
        }
        // The mark becomes a query parameter, and PostgreSQL text cannot hold U+0000.
        if !generation.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let end = match generation::end_of(db, generation)? {
            End::Before(xid) => xid.0.min(now.xmax),
            End::Now => now.xmax,
        };
        Some(token.ended_at(end))
    }

    fn parse_snapshot(generation: &str, text: &str) -> Option<Self> {
        let (text, message_id) = match text.split_once('~') {
            Some((text, id)) => (text, Some(i64::try_from(number(id)?).ok()?)),
            None => (text, None),
        };
        let mut numbers = text.split('_').map(number);
        let xmin = numbers.next()??;
        let xmax = xmin.checked_add(numbers.next()??)?;
        if xmin == 0 {
            return None;
        }
        let mut in_progress = Vec::new();
        for offset in numbers {
            let xid = xmin.checked_add(offset?)?;
            if xid >= xmax || in_progress.last().is_some_and(|last| *last >= xid) {
                return None;
            }
            in_progress.push(xid);
            if in_progress.len() > MAX_IN_PROGRESS {
                return None;
            }
        }
        Some(Self { generation: generation.to_owned(), xmin, xmax, in_progress, message_id })
    }

    /// The token without the transactions from `end` on.
    fn ended_at(mut self, end: u64) -> Self {
        self.xmin = self.xmin.min(end);
        self.xmax = self.xmax.min(end);
        self.in_progress.retain(|xid| *xid < end);
        self
    }

    /// The token with another `message_id`, up to which it acknowledges send-to-device messages: 0 for none,
    /// `None` for all that it sees.
    pub fn acknowledging(&self, message_id: Option<i64>) -> Self {
        Self { message_id, ..self.clone() }
    }

    /// Whether a row that this transaction wrote was visible when the token was made.
    pub fn sees(&self, xid: Xid) -> bool {
        xid.0 < self.xmin || (xid.0 < self.xmax && self.in_progress.binary_search(&xid.0).is_err())
    }
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

impl std::fmt::Display for SyncToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s{}_{}_{}", self.generation, self.xmin, self.xmax - self.xmin)?;
        self.in_progress.iter().try_for_each(|xid| write!(f, "_{}", xid - self.xmin))?;
        self.message_id.iter().try_for_each(|id| write!(f, "~{id}"))
    }
}

/// Reads decimal digits without a sign or leading zeros, as tokens are written.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
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
    /// out. `now` is [`SyncToken::current`].
    pub fn parse(db: &Db<'_>, name: &str, text: &str, now: &SyncToken) -> Result<Self> {
        let position = || -> Option<i64> {
            let digits = text.strip_prefix('t')?;
            number(digits.strip_prefix('-').unwrap_or(digits))?;
            digits.parse().ok()
        };
        position()
            .map(Self::Position)
            .or_else(|| SyncToken::parse(db, text, now).map(Self::Sync))
            .ok_or_else(|| refuse(name))
    }
}

/// The pagination token that stands after all events up to the position `pos`.
pub fn pagination_token(pos: i64) -> String {
    format!("t{pos}")
}

/// Reads the sync token in the parameter `name`; 400 `M_INVALID_PARAM` for one that this cluster did not give
/// out. `now` is [`SyncToken::current`].
pub fn sync_token(db: &Db<'_>, name: &str, text: &str, now: &SyncToken) -> Result<SyncToken> {
    SyncToken::parse(db, text, now).ok_or_else(|| refuse(name))
}

fn refuse(name: &str) -> MatrixError {
    MatrixError::invalid_param(format!("`{name}` is not a token of this server."))
}
