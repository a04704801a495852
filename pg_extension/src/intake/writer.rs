//! Rows of `events`, written many at a time.

use std::{collections::HashSet, rc::Rc};

use serde_json::Value;

use super::{Kind, verify::Pdu};
use crate::{
    append::annotations::Annotations,
    graph_events::{GraphEvent, Status},
    room::{POS_STEP, Room},
    spi::Db,
};

/// What of a batch is not written yet, and what the database said of it before.
pub struct Writer {
    pub rows: Vec<NewRow>,
    nids: std::vec::IntoIter<i64>,
    /// The state that `room_keys` and `memberships` say.
    pub followed: i64,
    /// Where the next event goes in the timeline.
    pub next_pos: i64,
    /// Where the timeline begins if the batch goes before it.
    first_pos: Option<i64>,
    /// Whether the timeline grew.
    pub shown: bool,
    /// Events of the batch that stored events cite as `prev_events`.
    pub missed_prevs: HashSet<String>,
    /// Targets of redactions that came before them.
    pub missed_targets: HashSet<String>,
}

/// An event to be written.
pub struct NewRow {
    pub event: Rc<GraphEvent>,
    /// Present for accepted events.
    pub pos: Option<i64>,
    pub sender_nid: i64,
    pub reason: Option<String>,
    pub annotations: Annotations,
    pub notify_seq: i64,
    pub json: String,
}

const NIDS: &str = "select nextval('event_nids') from generate_series(1, $1)";

const FIRST_POS: &str = "select first_pos from rooms where room_nid = $1";

const SET_FIRST_POS: &str = "update rooms set first_pos = $2 where room_nid = $1";

const MISSED: &str = "
    select 'prev', m.prev_event_id
    from unnest($2) as wanted (event_id)
    cross join lateral (
        select prev_event_id from missing_prev_events where room_nid = $1 and prev_event_id = wanted.event_id offset 0
    ) m
    union all
    select 'target', m.event_id
    from unnest($2) as wanted (event_id)
    cross join lateral (
        select event_id from missing_redacted_events where room_nid = $1 and event_id = wanted.event_id offset 0
    ) m";

/// Arrays of arrays cannot be parameters: they come as text, PostgreSQL's or JSON's.
const INSERT: &str = "
    insert into events (event_nid, room_nid, pos, depth, origin_server_ts, sender_nid, state_before, thread_root_nid,
        notify_seq, key_idx, status, notifies, event_id, type, status_reason, prev_nids, auth_nids, mentions, json)
    select e.event_nid, $1, e.pos, e.depth, e.origin_server_ts, e.sender_nid, e.state_before, e.thread_root_nid,
        e.notify_seq, e.key_idx, e.status, e.notifies, e.event_id, e.type, e.status_reason,
        e.prev_nids::bigint[], e.auth_nids::bigint[],
        case when e.mentions is not null then array(select json_array_elements_text(e.mentions::json)) end, e.json
    from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) as e
        (event_nid, pos, depth, origin_server_ts, sender_nid, state_before, thread_root_nid, notify_seq, key_idx,
        status, notifies, event_id, type, status_reason, prev_nids, auth_nids, mentions, json)";

/// State events that were not rejected; see the comment of the table.
const CITE: &str = "
    insert into event_auth_edges (auth_nid, event_nid)
    select auth_nid, event_nid from unnest($1, $2) as edge (auth_nid, event_nid)";

/// An outlier gets its place in the graph; to clients it is new.
const PROMOTE: &str = "
    update events
    set pos = $2, state_before = $3, thread_root_nid = $4, notify_seq = $5, status = $6, notifies = $7,
        status_reason = $8, prev_nids = $9, mentions = $10, xid = pg_current_xact_id()
    where event_nid = $1";

const REASON: &str = "select status_reason from events where event_nid = $1";

impl Writer {
    pub fn new(room: &mut Room<'_>, kind: Kind, pdus: &[Pdu]) -> Self {
        // The forward extremities.
        room.load([]);
        let nids = room.db.query(NIDS, &[(pdus.len() as i32).into()]).map(|row| row.get(1));
        let nids: Vec<i64> = nids.collect();
        let first_pos = (kind == Kind::Backfilled).then(|| {
            let first_pos: i64 = room.db.query_one(FIRST_POS, &[room.nid.into()]).get(1);
            first_pos - pdus.len() as i64 * POS_STEP
        });
        let mut writer = Self {
            rows: Vec::with_capacity(pdus.len()),
            nids: nids.into_iter(),
            followed: room.header.root,
            next_pos: first_pos.unwrap_or(room.header.last_pos + POS_STEP),
            first_pos,
            shown: false,
            missed_prevs: HashSet::new(),
            missed_targets: HashSet::new(),
        };
        let ids: Vec<&str> = pdus.iter().map(|pdu| pdu.event.event_id()).collect();
        for row in room.db.query(MISSED, &[room.nid.into(), ids.into()]) {
            let missed = match row.get::<String>(1).as_str() {
                "prev" => &mut writer.missed_prevs,
                _ => &mut writer.missed_targets,
            };
            missed.insert(row.get(2));
        }
        writer
    }

    /// A new event's nid: greater than those of all events stored before.
    ///
    /// # Panics
    ///
    /// If more events are stored than the batch has.
    pub fn next_nid(&mut self) -> i64 {
        self.nids.next().unwrap_or_else(|| panic!("more events than the batch has"))
    }

    /// Writes the rows, and their edges.
    pub fn flush(&mut self, room: &Room<'_>) {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return;
        }
        macro_rules! column {
            (|$row:ident| $value:expr) => {
                rows.iter().map(|$row| $value).collect::<Vec<_>>().into()
            };
        }
        room.db.execute(
            INSERT,
            &[
                room.nid.into(),
                column!(|row| row.event.nid),
                column!(|row| row.pos),
                column!(|row| row.event.event.depth()),
                column!(|row| row.event.event.origin_server_ts()),
                column!(|row| row.sender_nid),
                column!(|row| row.event.state_before),
                column!(|row| row.annotations.thread_root_nid),
                column!(|row| row.notify_seq),
                column!(|row| row.event.key_idx),
                column!(|row| row.event.status.code()),
                column!(|row| row.annotations.notifies),
                column!(|row| row.event.event.event_id()),
                column!(|row| row.event.event.event_type()),
                column!(|row| row.reason.as_deref()),
                column!(|row| array_literal(&row.event.prev_nids)),
                column!(|row| array_literal(&row.event.auth_nids)),
                column!(|row| row.annotations.mentions.clone().map(|ids| Value::from(ids).to_string())),
                column!(|row| row.json.as_str()),
            ],
        );
        let citing =
            rows.iter().filter(|row| row.event.key_idx.is_some() && row.event.status != Status::Rejected);
        let edges =
            citing.flat_map(|row| row.event.auth_nids.iter().map(|auth_nid| (*auth_nid, row.event.nid)));
        let (auth_nids, event_nids): (Vec<i64>, Vec<i64>) = edges.unzip();
        if !auth_nids.is_empty() {
            room.db.execute(CITE, &[auth_nids.into(), event_nids.into()]);
        }
    }

    /// Why a stored event was not accepted.
    pub fn reason(&self, db: &Db<'_>, nid: i64) -> Option<String> {
        match self.rows.iter().find(|row| row.event.nid == nid) {
            Some(row) => row.reason.clone(),
            None => db.query_opt(REASON, &[nid.into()])?.opt(1),
        }
    }

    /// The timeline begins where the batch does, if that went before it.
    pub fn finish(&self, room: &Room<'_>) {
        if let Some(first_pos) = self.first_pos.filter(|_| self.shown) {
            room.db.execute(SET_FIRST_POS, &[room.nid.into(), first_pos.into()]);
        }
    }
}

/// Writes what an outlier has become.
pub fn promote(db: &Db<'_>, row: NewRow) {
    let NewRow { event, pos, reason, annotations, notify_seq, .. } = row;
    db.execute(
        PROMOTE,
        &[
            event.nid.into(),
            pos.into(),
            event.state_before.into(),
            annotations.thread_root_nid.into(),
            notify_seq.into(),
            event.status.code().into(),
            annotations.notifies.into(),
            reason.into(),
            event.prev_nids.clone().into(),
            annotations.mentions.into(),
        ],
    );
}

/// PostgreSQL's text form of `bigint[]`.
fn array_literal(nids: &[i64]) -> String {
    let nids: Vec<String> = nids.iter().map(i64::to_string).collect();
    format!("{{{}}}", nids.join(","))
}
