//! Checks events by themselves: JSON, ids, hashes, signatures, and the columns that are made from the JSON.

use matriarch_rules::{Event, hash, json::parse_pdu, redaction::redact_exactly, signature::SignatureError};

use super::{Verifier, View, report::Finding};
use crate::{
    base::{spi::Row, users},
    intake::Keys,
    room::{POS_STEP, graph_events::Status},
};

const STORED: &str = "
    select e.event_nid, e.event_id, e.json, e.type, u.user_id as sender, e.depth, e.origin_server_ts,
        e.key_idx, k.type as key_type, k.state_key, e.status, e.redacted_by, x.event_id as redaction_id, e.pos
    from unnest($1) as wanted (event_nid)
    cross join lateral (select * from events where event_nid = wanted.event_nid offset 0) e
    left join users u on u.user_nid = e.sender_nid
    left join room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
    left join events x on x.event_nid = e.redacted_by";

const SET_JSON: &str = "update events set json = $2 where event_nid = $1";

const SET_COLUMNS: &str = "
    update events set type = $2, depth = $3, origin_server_ts = $4, sender_nid = $5 where event_nid = $1";

const SET_KEY: &str = "update events set key_idx = $2 where event_nid = $1";

const FIND_KEY: &str =
    "select key_idx from room_state_keys where room_nid = $1 and type = $2 and state_key = $3";

const ADD_KEY: &str = "
    with next as (
        update rooms r
        set next_key_idx = 1 + greatest(
            r.next_key_idx, 1 + (select max(key_idx) from room_state_keys where room_nid = $1)
        )
        where r.room_nid = $1
        returning r.next_key_idx - 1 as key_idx
    )
    insert into room_state_keys (room_nid, key_idx, type, state_key)
    select $1, next.key_idx, $2, $3 from next
    returning key_idx";

/// Puts the event at the end of the timeline, so that clients which have read the rest get it.
const SET_POS: &str = "
    with next as (
        update rooms
        set last_pos = greatest(last_pos,
            (select max(pos) from events where room_nid = $1 and pos is not null)) + $3,
            xid = pg_current_xact_id()
        where room_nid = $1
        returning last_pos
    )
    update events set pos = next.last_pos, xid = pg_current_xact_id() from next where event_nid = $2";

/// An event, and its row.
struct Stored<'r> {
    nid: i64,
    row: Row<'r>,
    event: Event,
    status: Status,
}

impl Verifier {
    /// Checks that events are what was signed, and that their rows agree with the JSON.
    pub fn check_events(&mut self, view: &View<'_, '_>, nids: &[i64]) {
        let rows = view.room.db.query(STORED, &[nids.to_vec().into()]);
        let stored: Vec<Stored<'_>> = rows.filter_map(|row| self.check_json(view, row)).collect();
        let events = || stored.iter().map(|stored| &stored.event);
        let keys = Keys::load(view.room.db, view.room.version, events(), Default::default());
        for stored in &stored {
            self.check_signatures(view, &keys, &stored.event);
            self.check_columns(view, stored);
            self.check_key(view, stored);
            if stored.status == Status::Accepted && stored.row.opt::<i64>("pos").is_none() {
                let finding = Finding::new("timeline").event(stored.event.event_id());
                let finding = finding.expected("a position in the timeline").action("added at the end");
                if self.report.add(finding) {
                    set_pos(view, stored.nid);
                }
            }
        }
    }

    /// The event, if it is what was signed.
    fn check_json<'r>(&mut self, view: &View<'_, '_>, row: Row<'r>) -> Option<Stored<'r>> {
        let (nid, event_id, text): (i64, String, String) =
            (row.get("event_nid"), row.get("event_id"), row.get("json"));
        let version = view.room.version;
        let damaged = |check, found: String, expected: &str| {
            Some(Finding::new(check).event(&event_id).found(found).expected(expected))
        };
        let mut json = match parse_pdu(&text) {
            Ok(json) => json,
            Err(error) => {
                self.report.add(damaged("json", error.to_string(), "a JSON object")?);
                self.damaged.insert(nid);
                return None;
            }
        };
        json.object.remove("unsigned");
        let found = hash::event_id(version, &json).unwrap_or_default();
        let event = Event::new(event_id.clone(), json);
        let hash_matches = hash::content_hash_matches(event.exact());
        let redacted = redact_exactly(version, event.exact().clone());
        let redacted_by: Option<i64> = row.opt("redacted_by");
        let damage = if found != event_id {
            damaged("event id", found, &event_id)
        } else if event.room_id() != Some(&view.room.id) {
            damaged("room id", event.room_id().unwrap_or_default().to_owned(), &view.room.id)
        } else if !hash_matches && redacted.object != *event.json() {
            damaged("content hash", hash::content_hash(event.exact()), "the hash that the event names")
        } else {
            None
        };
        if let Some(damage) = damage {
            self.report.add(damage);
            self.damaged.insert(nid);
            return None;
        }
        if let Some(by) = redacted_by
            && row.opt::<String>("redaction_id").is_none()
        {
            let finding = Finding::new("redaction").event(&event_id).found(format!("event_nid {by}"));
            self.report.add(finding.expected("the redaction that was applied"));
        }
        let must_be_redacted = redacted_by.is_some() && redacted.object != *event.json();
        let json = if must_be_redacted { &redacted } else { event.exact() };
        let canonical = json.to_canonical();
        if canonical != text {
            let finding = if must_be_redacted {
                Finding::new("redaction").found("what redaction strips")
            } else {
                Finding::new("json").found("not canonical, or with unsigned")
            };
            let finding =
                finding.event(&event_id).expected("canonical JSON as signed").action("written anew");
            if self.report.add(finding) {
                view.room.db.execute(SET_JSON, &[nid.into(), canonical.into()]);
                view.graph.events.forget(nid);
            }
        }
        let status = Status::of_code(row.get("status"));
        Some(Stored { nid, row, event, status })
    }

    fn check_signatures(&mut self, view: &View<'_, '_>, keys: &Keys, event: &Event) {
        let Err(error) = keys.check_at_any_time(view.room.version, event) else { return };
        let judged = match error {
            SignatureError::NoKnownKey { .. } => false,
            // Redaction may have removed what tells which servers must sign.
            SignatureError::NotSigned { .. } | SignatureError::NoServer => {
                hash::content_hash_matches(event.exact())
            }
            SignatureError::Wrong { .. } | SignatureError::NotCanonical(_) => true,
        };
        if judged {
            let finding = Finding::new("signatures").event(event.event_id());
            self.report.add(finding.found(error).expected("signatures of the servers that must sign"));
        }
    }

    fn check_columns(&mut self, view: &View<'_, '_>, stored: &Stored<'_>) {
        let Stored { nid, row, event, .. } = stored;
        let columns = [
            ("type", row.get::<String>("type"), event.event_type().to_owned()),
            ("sender", row.opt::<String>("sender").unwrap_or_default(), event.sender().to_owned()),
            ("depth", row.get::<i64>("depth").to_string(), event.depth().to_string()),
            (
                "origin_server_ts",
                row.get::<i64>("origin_server_ts").to_string(),
                event.origin_server_ts().to_string(),
            ),
        ];
        let mut repair = false;
        for (column, found, expected) in columns {
            if found != expected {
                let finding = Finding::new("columns").event(event.event_id()).subject(column);
                repair |= self.report.add(finding.found(found).expected(expected).action("set"));
            }
        }
        if repair {
            let sender = event.sender();
            let sender_nid = users::intern(view.room.db, &[sender])[sender];
            view.room.db.execute(
                SET_COLUMNS,
                &[
                    (*nid).into(),
                    event.event_type().into(),
                    event.depth().into(),
                    event.origin_server_ts().into(),
                    sender_nid.into(),
                ],
            );
        }
    }

    /// Checks the `key_idx` of a state event. An event that was rejected at once needs none.
    fn check_key(&mut self, view: &View<'_, '_>, stored: &Stored<'_>) {
        let Stored { nid, row, event, status } = stored;
        let key_idx: Option<i32> = row.opt("key_idx");
        let found: Option<(String, String)> = row.opt("key_type").zip(row.opt("state_key"));
        let expected = event.state_key().map(|key| (event.event_type().to_owned(), key.to_owned()));
        if (*status == Status::Rejected && key_idx.is_none())
            || (found == expected && key_idx.is_some() == found.is_some())
        {
            return;
        }
        let name = |key: &Option<(String, String)>| match key {
            Some((event_type, state_key)) => format!("{event_type} {state_key:?}"),
            None => "no key".to_owned(),
        };
        let finding = Finding::new("key index").event(event.event_id()).found(name(&found));
        if self.report.add(finding.expected(name(&expected)).action("set")) {
            let key_idx =
                expected.map(|(event_type, state_key)| find_or_add_key(view, &event_type, &state_key));
            view.room.db.execute(SET_KEY, &[(*nid).into(), key_idx.into()]);
            view.graph.events.forget(*nid);
        }
    }
}

/// Gives an accepted event a position at the end of the timeline.
pub fn set_pos(view: &View<'_, '_>, nid: i64) {
    view.room.db.execute(SET_POS, &[view.room.nid.into(), nid.into(), POS_STEP.into()]);
}

/// The `key_idx` of a state key. A new state key gets the next number.
pub fn find_or_add_key(view: &View<'_, '_>, event_type: &str, state_key: &str) -> i32 {
    let args = [view.room.nid.into(), event_type.into(), state_key.into()];
    let found = view.room.db.query_opt(FIND_KEY, &args);
    found.unwrap_or_else(|| view.room.db.query_one(ADD_KEY, &args)).get("key_idx")
}
