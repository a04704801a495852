//! Which run of which cluster this is.
//!
//! What sync tokens say holds within a generation: from one start of the server to the next. A crash, a failover or a
//! restore may undo transactions whose ids are given out again afterwards. So tokens carry the mark of their generation,
//! and the table `generations` remembers with which transaction id each began.

use std::cell::RefCell;

use pgrx::{pg_extern, pg_sys};
use sha2::{Digest, Sha256};

use crate::base::{
    spi::{Db, Mode, connect},
    token::Xid,
};

/// The cluster's system identifier and the timeline that it writes (on a standby: replays), `<system>:<timeline>`.
///
/// `initdb` draws the first; every promotion of a standby, and every recovery from a backup that ends before the log
/// does, begins a new one of the second. What was committed on an earlier timeline may be lost on this one.
pub fn timeline() -> String {
    name_of(timeline_number())
}

fn timeline_number() -> pg_sys::TimeLineID {
    // SAFETY: these read shared memory that is there as long as the backend is.
    unsafe {
        if pg_sys::RecoveryInProgress() {
            let mut timeline = 0;
            pg_sys::GetXLogReplayRecPtr(&raw mut timeline);
            timeline
        } else {
            pg_sys::GetWALInsertionTimeLine()
        }
    }
}

fn name_of(timeline: pg_sys::TimeLineID) -> String {
    // SAFETY: reads shared memory.
    let system = unsafe { pg_sys::GetSystemIdentifier() };
    format!("{system}:{timeline}")
}

/// How many characters of a mark are the cluster's, as hexadecimal digits.
const SYSTEM_DIGITS: usize = 4;
/// How many characters a mark has.
const MARK_DIGITS: usize = 12;

fn digest(text: &str, digits: usize) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(digits / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn mark_of(timeline: &str, started_at: i64) -> String {
    let system = timeline.split(':').next().unwrap_or_default();
    digest(system, SYSTEM_DIGITS) + &digest(&format!("{timeline}:{started_at}"), MARK_DIGITS - SYSTEM_DIGITS)
}

const NEWEST: &str = "select mark from generations order by generation_nid desc limit 1";

/// The mark of the generation that now runs.
pub fn mark(db: &Db<'_>) -> String {
    // SAFETY: reads shared memory.
    let in_recovery = unsafe { pg_sys::RecoveryInProgress() };
    // A standby started by itself; what it shows is the primary's.
    let newest = in_recovery.then(|| db.query_opt(NEWEST, &[])).flatten();
    newest.map_or_else(own_mark, |row| row.get(1))
}

thread_local! {
    /// The mark of the generation on the timeline that this backend saw last.
    static OWN_MARK: RefCell<(pg_sys::TimeLineID, String)> = RefCell::default();
}

fn own_mark() -> String {
    let timeline = timeline_number();
    OWN_MARK.with_borrow_mut(|(marked, mark)| {
        if *marked != timeline || mark.is_empty() {
            // SAFETY: set once, as the server starts.
            let started_at = unsafe { pg_sys::PgStartTime };
            (*marked, *mark) = (timeline, mark_of(&name_of(timeline), started_at));
        }
        mark.clone()
    })
}

const END: &str = "
    select (select min(n.first_xid) from generations n where n.generation_nid > g.generation_nid)
    from generations g
    where g.mark = $1";

const BEGIN_OF_TIMELINE: &str = "select min(first_xid) from generations where timeline = $1";

/// Up to where transaction ids of an earlier generation mean now what they meant then.
pub enum End {
    /// The id from which on they do not.
    Before(Xid),
    /// Nothing was written since: all of them.
    Now,
}

/// Where a generation ended; `None` for one that this database never had. One that is not known although it was of this
/// cluster was undone by a restore: it ended at the latest where the timeline began.
pub fn end_of(db: &Db<'_>, mark: &str) -> Option<End> {
    let end = match db.query_opt(END, &[mark.into()]) {
        Some(row) => row.opt(1),
        None if is_of_this_system(mark) => db.query_one(BEGIN_OF_TIMELINE, &[timeline().into()]).opt(1),
        None => return None,
    };
    Some(end.map_or(End::Now, End::Before))
}

fn is_of_this_system(mark: &str) -> bool {
    mark.len() == MARK_DIGITS && own_mark().get(..SYSTEM_DIGITS) == mark.get(..SYSTEM_DIGITS)
}

thread_local! {
    /// The generation that is known to be recorded.
    static RECORDED: RefCell<String> = RefCell::default();
}

const IS_RECORDED: &str = "
    select from generations where mark = $1 and xid is distinct from pg_current_xact_id_if_assigned()";

const RECORD: &str = "
    insert into generations (mark, timeline) values ($1, $2) on conflict (mark) do nothing";

/// Records the generation, before anything is written in it that tokens tell of.
pub fn record(db: &Db<'_>) {
    let mark = own_mark();
    if RECORDED.with_borrow(|recorded| *recorded == mark) {
        return;
    }
    // What this transaction recorded it may yet undo.
    if db.query_opt(IS_RECORDED, &[mark.as_str().into()]).is_some() {
        RECORDED.set(mark);
    } else {
        db.execute(RECORD, &[mark.as_str().into(), timeline().into()]);
    }
}

/// For what is written without another function of the extension.
#[pg_extern(volatile)]
fn record_generation() {
    connect(Mode::Write, |_| ());
}
