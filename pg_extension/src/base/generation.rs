//! Generations: the runs of the database server.
//!
//! A sync token holds transaction ids, which are comparable only within a generation: from one start of the
//! database server to the next. A crash, a failover or a restore may undo transactions, and PostgreSQL then
//! gives their ids to other ones. So each token carries the mark of its generation, and the table
//! `generations` records the transaction id with which each generation began.

use std::cell::RefCell;

use pgrx::pg_sys;
use sha2::{Digest, Sha256};

use crate::base::spi::{Db, Xid};

/// The cluster's system identifier and the timeline of the WAL that it writes (on a standby: replays), as
/// `<system>:<timeline>`.
///
/// `initdb` chooses the system identifier. Each promotion of a standby, and each point-in-time recovery,
/// begins a new timeline. Transactions that were committed on an earlier timeline may be lost on this one.
pub fn timeline() -> String {
    name_of(timeline_number())
}

fn timeline_number() -> pg_sys::TimeLineID {
    // SAFETY: these functions read shared memory, which exists as long as the backend.
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

/// A mark begins with this many hexadecimal digits that identify the cluster.
const SYSTEM_DIGITS: usize = 4;
/// The length of a mark, in hexadecimal digits.
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

/// The mark of the current generation.
pub fn mark(db: &Db<'_>) -> String {
    // SAFETY: reads shared memory.
    let in_recovery = unsafe { pg_sys::RecoveryInProgress() };
    // A standby's own start begins no generation: it shows what the primary wrote.
    let newest = in_recovery.then(|| db.query_opt(NEWEST, &[])).flatten();
    newest.map_or_else(own_mark, |row| row.get("mark"))
}

thread_local! {
    /// The timeline of the WAL that this backend saw last, and the mark of this run on it.
    static OWN_MARK: RefCell<(pg_sys::TimeLineID, String)> = RefCell::default();
}

fn own_mark() -> String {
    let timeline = timeline_number();
    OWN_MARK.with_borrow_mut(|(marked, mark)| {
        if *marked != timeline || mark.is_empty() {
            // SAFETY: PostgreSQL sets it once, when the server starts.
            let started_at = unsafe { pg_sys::PgStartTime };
            (*marked, *mark) = (timeline, mark_of(&name_of(timeline), started_at));
        }
        mark.clone()
    })
}

const END: &str = "
    select (select min(n.first_xid) from generations n where n.generation_nid > g.generation_nid)
        as end_xid
    from generations g
    where g.mark = $1";

const BEGIN_OF_TIMELINE: &str = "select min(first_xid) as first_xid from generations where timeline = $1";

/// The transaction ids of an earlier generation that still stand for the same transactions.
pub enum End {
    /// Those below this id.
    Before(Xid),
    /// All of them: no later generation has written anything.
    Now,
}

/// Where a generation ended; `None` if this database never had it. A restore may have undone the record of a
/// generation of this cluster: such a generation ended at the latest where the current timeline of the WAL
/// began.
pub fn end_of(db: &Db<'_>, mark: &str) -> Option<End> {
    let end = match db.query_opt(END, &[mark.into()]) {
        Some(row) => row.opt("end_xid"),
        None if is_of_this_system(mark) => {
            db.query_one(BEGIN_OF_TIMELINE, &[timeline().into()]).opt("first_xid")
        }
        None => return None,
    };
    Some(end.map_or(End::Now, End::Before))
}

fn is_of_this_system(mark: &str) -> bool {
    mark.len() == MARK_DIGITS && own_mark().get(..SYSTEM_DIGITS) == mark.get(..SYSTEM_DIGITS)
}

thread_local! {
    /// The mark of the generation that a committed row of `generations` records.
    static RECORDED: RefCell<String> = RefCell::default();
}

const IS_RECORDED: &str = "
    select from generations where mark = $1 and xid is distinct from pg_current_xact_id_if_assigned()";

const RECORD: &str = "
    insert into generations (mark, timeline) values ($1, $2) on conflict (mark) do nothing";

/// Records the current generation, before its first write that a token can see.
pub fn record(db: &Db<'_>) {
    let mark = own_mark();
    if RECORDED.with_borrow(|recorded| *recorded == mark) {
        return;
    }
    // A row that this transaction inserted may still be rolled back, so it is not remembered.
    if db.query_opt(IS_RECORDED, &[mark.as_str().into()]).is_some() {
        RECORDED.set(mark);
    } else {
        db.execute(RECORD, &[mark.as_str().into(), timeline().into()]);
    }
}
