//! Collects the rows of a batch, and writes many at a time.

use std::collections::HashSet;

use crate::{
    base::spi::Db,
    intake::verify::Pdu,
    room::{
        Room,
        event_rows::{EventRow, insert},
        graph_events::Status,
    },
};

/// Rows of a batch that are not written yet, and what the database said about its events.
pub struct Writer {
    pub rows: Vec<EventRow>,
    /// The root of the state that the flat rows have.
    pub flat_root: i64,
    /// The first position that a backfilled event got.
    pub first_pos: i64,
    /// Whether the timeline has new events.
    pub shown: bool,
    /// Events of the batch that stored events cite in `prev_events`.
    pub missed_prevs: HashSet<String>,
    /// Events of the batch that stored redactions target.
    pub missed_targets: HashSet<String>,
    /// Events of the batch, and their previous events, that are in `events_without_successor`.
    pub without_successor: HashSet<String>,
}

const SET_FIRST_POS: &str = "update rooms set first_pos = $2 where room_nid = $1 and first_pos > $2";

const MISSED: &str = "
    select 'prev' as kind, m.prev_event_id
    from unnest($2) as wanted (event_id)
    cross join lateral (
        select prev_event_id from missing_prev_events
        where room_nid = $1 and prev_event_id = wanted.event_id offset 0
    ) m
    union all
    select 'target', m.event_id
    from unnest($2) as wanted (event_id)
    cross join lateral (
        select event_id from missing_redacted_events
        where room_nid = $1 and event_id = wanted.event_id offset 0
    ) m
    union all
    select 'without_successor', l.event_id
    from unnest($2 || $3) as wanted (event_id)
    cross join lateral (
        select event_id from events_without_successor
        where room_nid = $1 and event_id = wanted.event_id offset 0
    ) l";

const ADD_WITHOUT_SUCCESSOR: &str = "
    insert into events_without_successor (event_nid, room_nid, event_id) values ($1, $2, $3)
    on conflict (event_nid) do nothing";

/// Deletes these events and, transitively, those of their previous events that are without successor.
const MARK_FOLLOWED: &str = "
    with recursive followed as (
        select l.event_nid from events_without_successor l where l.room_nid = $1 and l.event_id = any($2)
        union
        select p.event_nid
        from followed t
        join events e on e.event_nid = t.event_nid
        cross join unnest(e.prev_nids) as p (event_nid)
        where exists (select from events_without_successor l where l.event_nid = p.event_nid)
    )
    delete from events_without_successor l using followed t where l.event_nid = t.event_nid
    returning l.event_id";

/// Writes edges of state events that are not rejected; see the comment of the table.
const CITE: &str = "
    insert into event_auth_edges (auth_nid, event_nid)
    select auth_nid, event_nid from unnest($1, $2) as edge (auth_nid, event_nid)";

/// Adds an outlier to the graph. `xid` is set because the event is new to clients.
const PROMOTE: &str = "
    update events
    set pos = $2, state_before = $3, thread_root_nid = $4, notify_seq = $5, status = $6, notifies = $7,
        status_reason = $8, prev_nids = $9, mentions = $10, outgoing = $11, withheld = false,
        xid = pg_current_xact_id()
    where event_nid = $1";

const REASON: &str = "select status_reason from events where event_nid = $1";

impl Writer {
    pub fn new(room: &mut Room<'_>, pdus: &[Pdu]) -> Self {
        // Loads the forward extremities.
        room.load([]);
        let mut writer = Self {
            rows: Vec::with_capacity(pdus.len()),
            flat_root: room.header.root,
            first_pos: i64::MAX,
            shown: false,
            missed_prevs: HashSet::new(),
            missed_targets: HashSet::new(),
            without_successor: HashSet::new(),
        };
        let ids: Vec<&str> = pdus.iter().map(|pdu| pdu.event.event_id()).collect();
        let prevs: Vec<&str> =
            pdus.iter().flat_map(|pdu| pdu.event.prev_events()).filter(|id| !id.contains('\0')).collect();
        for row in room.db.query(MISSED, &[room.nid.into(), ids.into(), prevs.into()]) {
            let missed = match row.get::<String>("kind").as_str() {
                "prev" => &mut writer.missed_prevs,
                "target" => &mut writer.missed_targets,
                _ => &mut writer.without_successor,
            };
            missed.insert(row.get("prev_event_id"));
        }
        writer
    }

    /// Records that no event of the timeline is known to follow an event.
    pub fn add_without_successor(&mut self, room: &Room<'_>, event_nid: i64, event_id: &str) {
        room.db.execute(ADD_WITHOUT_SUCCESSOR, &[event_nid.into(), room.nid.into(), event_id.into()]);
        self.without_successor.insert(event_id.to_owned());
    }

    /// Records that events of the timeline follow these events, and so their previous events.
    pub fn mark_followed(&mut self, room: &Room<'_>, event_ids: &[&str]) {
        if event_ids.iter().any(|id| self.without_successor.contains(*id)) {
            for row in room.db.query(MARK_FOLLOWED, &[room.nid.into(), event_ids.to_vec().into()]) {
                self.without_successor.remove(&row.get::<String>("event_id"));
            }
        }
    }

    /// Writes the rows, and the edges from their auth events.
    pub fn flush(&mut self, room: &Room<'_>) {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return;
        }
        insert(room.db, &rows);
        let citing = rows.iter().filter(|row| row.key_idx.is_some() && row.status != Status::Rejected);
        let edges = citing.flat_map(|row| row.auth_nids.iter().map(|auth_nid| (*auth_nid, row.event_nid)));
        let (auth_nids, event_nids): (Vec<i64>, Vec<i64>) = edges.unzip();
        if !auth_nids.is_empty() {
            room.db.execute(CITE, &[auth_nids.into(), event_nids.into()]);
        }
    }

    /// The reason why a stored event was not accepted.
    pub fn reason(&self, db: &Db<'_>, nid: i64) -> Option<String> {
        match self.rows.iter().find(|row| row.event_nid == nid) {
            Some(row) => row.status_reason.clone(),
            None => db.query_opt(REASON, &[nid.into()])?.opt("status_reason"),
        }
    }

    /// Moves the beginning of the timeline if backfilled events are before it.
    pub fn finish(&self, room: &Room<'_>) {
        if self.first_pos < i64::MAX {
            room.db.execute(SET_FIRST_POS, &[room.nid.into(), self.first_pos.into()]);
        }
    }
}

/// Updates the row of an outlier that was added to the graph.
pub fn promote(db: &Db<'_>, row: EventRow) {
    db.execute(
        PROMOTE,
        &[
            row.event_nid.into(),
            row.pos.into(),
            row.state_before.into(),
            row.thread_root_nid.into(),
            row.notify_seq.into(),
            row.status.code().into(),
            row.notifies.into(),
            row.status_reason.into(),
            row.prev_nids.into(),
            row.mentions.into(),
            row.outgoing.into(),
        ],
    );
}
