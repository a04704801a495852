//! Inserts rows into `events`. All events of a call are written by one statement, because starting a
//! statement costs as much as a row.

use pgrx::{IntoDatum, direct_function_call, pg_sys};

use crate::{
    base::spi::{Db, nids_literal, texts_literal},
    room::graph_events::Status,
};

/// The columns of a new event.
#[derive(Debug)]
pub struct EventRow {
    pub event_nid: i64,
    pub room_nid: i64,
    /// Set for accepted events of the timeline.
    pub pos: Option<i64>,
    pub depth: i64,
    pub origin_server_ts: i64,
    pub sender_nid: i64,
    /// `None` if unknown.
    pub state_before: Option<i64>,
    pub device_nid: Option<i64>,
    pub thread_root_nid: Option<i64>,
    pub notify_seq: i64,
    pub key_idx: Option<i32>,
    pub status: Status,
    pub status_reason: Option<String>,
    pub notifies: bool,
    pub event_id: String,
    pub event_type: String,
    pub txn_id: Option<String>,
    pub prev_nids: Vec<i64>,
    pub auth_nids: Vec<i64>,
    pub mentions: Option<Vec<String>>,
    /// Whether the event is to be sent to the other servers of the room.
    pub outgoing: bool,
    pub json: String,
}

const INSERT: &str = "
    insert into events (event_nid, room_nid, pos, depth, origin_server_ts, sender_nid, state_before,
        device_nid, thread_root_nid, notify_seq, key_idx, status, status_reason, notifies, event_id, type,
        txn_id, prev_nids, auth_nids, mentions, json, outgoing)
    select ($1)[i], ($2)[i], ($3)[i], ($4)[i], ($5)[i], ($6)[i], ($7)[i], ($8)[i], ($9)[i], ($10)[i],
        ($11)[i], ($12)[i], ($13)[i], ($14)[i], ($15)[i], ($16)[i], ($17)[i], ($18)[i]::bigint[],
        ($19)[i]::bigint[], ($20)[i]::text[], ($21)[i], ($22)[i]
    from generate_series(1, cardinality($1)) as i";

/// Inserts events.
pub fn insert<'r>(db: &Db<'_>, rows: impl IntoIterator<Item = &'r EventRow>) {
    let rows: Vec<&EventRow> = rows.into_iter().collect();
    if rows.is_empty() {
        return;
    }
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>().into()
        };
    }
    db.execute(
        INSERT,
        &[
            column!(row => row.event_nid),
            column!(row => row.room_nid),
            column!(row => row.pos),
            column!(row => row.depth),
            column!(row => row.origin_server_ts),
            column!(row => row.sender_nid),
            column!(row => row.state_before),
            column!(row => row.device_nid),
            column!(row => row.thread_root_nid),
            column!(row => row.notify_seq),
            column!(row => row.key_idx),
            column!(row => row.status.code()),
            column!(row => row.status_reason.as_deref()),
            column!(row => row.notifies),
            column!(row => row.event_id.as_str()),
            column!(row => row.event_type.as_str()),
            column!(row => row.txn_id.as_deref()),
            column!(row => nids_literal(row.prev_nids.iter().copied())),
            column!(row => nids_literal(row.auth_nids.iter().copied())),
            column!(row => row.mentions.as_deref().map(texts_literal)),
            column!(row => row.json.as_str()),
            column!(row => row.outgoing),
        ],
    );
}

/// Takes the next `event_nid`. The caller must hold the room's lock and know the event's auth events: then
/// the nid is greater than theirs.
pub fn next_event_nid() -> i64 {
    // SAFETY: both look-ups take NUL-terminated names. `nextval` takes an oid, and raises an ERROR if it is
    // not a sequence's.
    let nid = unsafe {
        let sequence = pg_sys::get_relname_relid(
            c"event_nids".as_ptr(),
            pg_sys::get_namespace_oid(c"matriarch".as_ptr(), false),
        );
        direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()])
    };
    nid.expect("nextval gives a number")
}

const NOTE_PARTIAL: &str = "
    insert into partial_states (event_nid, room_nid, lost)
    select event_nid, $1, event_nid = any($3) from unnest($2) as event_nid
    on conflict (event_nid) do nothing";

/// Notes that the states before these events lack members. `lost` are the events some of whose previous
/// events cannot be obtained.
pub fn note_partial(db: &Db<'_>, room_nid: i64, event_nids: Vec<i64>, lost: Vec<i64>) {
    if !event_nids.is_empty() {
        db.execute(NOTE_PARTIAL, &[room_nid.into(), event_nids.into(), lost.into()]);
    }
}
