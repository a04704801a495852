//! Checks the current state: its root, its flat rows, and the columns of `rooms`.

use std::{collections::BTreeMap, rc::Rc};

use matriarch_rules::event::format::MAX_PREV_EVENTS;

use super::{
    BATCH, Verifier, View,
    members::Counts,
    report::Finding,
    states::{describe, distinct},
};
use crate::{
    room::{graph_events::GraphEvent, state_at::StateAt},
    trie,
};

const SET_ROOT: &str = "update rooms set current_root = $2, xid = pg_current_xact_id() where room_nid = $1";

const KEYS: &str = "
    select key_idx, type, state_key, current_event_nid
    from room_state_keys
    where room_nid = $1 and key_idx > $2
    order by key_idx
    limit $3";

const SET_KEY: &str =
    "update room_state_keys set current_event_nid = $3 where room_nid = $1 and key_idx = $2";

/// The columns of `rooms`, and the values that bound them.
const BOUNDS: &str = "
    select r.joined_members, r.invited_members, r.depth, r.next_key_idx, r.first_pos, r.last_pos,
        (select max(depth) from events where room_nid = r.room_nid and is_live(pos)) as max_depth,
        (select max(key_idx) + 1 from room_state_keys where room_nid = r.room_nid) as next_key,
        (select min(pos) from events where room_nid = r.room_nid and pos is not null) as min_pos,
        (select max(pos) from events where room_nid = r.room_nid and pos is not null) as max_pos
    from rooms r
    where r.room_nid = $1";

const SET_BOUNDS: &str = "
    update rooms
    set joined_members = $2, invited_members = $3, depth = $4, next_key_idx = $5, first_pos = $6,
        last_pos = $7
    where room_nid = $1";

impl Verifier {
    /// Checks the current state. The forward extremities must be checked before.
    pub fn check_current_state(&mut self) {
        self.with_view(Self::check_current_root);
        let mut entries: BTreeMap<i32, i64> = self.with_view(|verifier, view| {
            let root = view.room.header.root;
            if verifier.wrong_roots(view, vec![root]).is_empty() {
                trie::entries(view.room.db, root).into_iter().collect()
            } else {
                BTreeMap::new()
            }
        });
        let mut counts = Counts::default();
        let mut after = -1;
        while let Some(last) =
            self.with_view(|verifier, view| verifier.check_keys(view, &mut entries, &mut counts, after))
        {
            after = last;
        }
        self.with_view(|verifier, view| {
            for key_idx in entries.into_keys() {
                let finding = Finding::new("current state").subject(format!("key_idx {key_idx}"));
                verifier
                    .report
                    .add(finding.found("no key of this index").expected("a row of room_state_keys"));
            }
            verifier.check_members_without_event(view);
            verifier.check_bounds(view, &counts);
            verifier.check_servers(view, &counts);
        });
    }

    fn check_current_root(&mut self, view: &View<'_, '_>) {
        let (db, room_nid, found) = (view.room.db, view.room.nid, view.room.header.root);
        let nids = &view.room.header.extremity_nids;
        view.graph.events.load(nids.iter().copied());
        let extremities: Vec<Rc<GraphEvent>> = nids.iter().map(|nid| view.graph.events.get(*nid)).collect();
        let roots = extremities.iter().filter_map(|event| event.state_before);
        let wrong = self.wrong_roots(view, roots.chain([found]).collect());
        let finding = Finding::new("current root");
        let unreadable = wrong.get(&found).copied();
        let known = |event: &Rc<GraphEvent>| {
            event.state_before.is_some_and(|root| !wrong.contains_key(&root))
                && !self.doubted.contains(&event.nid)
        };
        // The current state of a crowded room depends on the order in which events arrived.
        if !extremities.iter().all(known) || extremities.len() > MAX_PREV_EVENTS {
            if let Some(reason) = unreadable {
                self.report.add(finding.found(reason).expected("a state"));
            }
            return;
        }
        let states = distinct(view, extremities.iter().filter_map(|event| StateAt::after_in_graph(event)));
        let finding = match unreadable {
            Some(reason) => finding.found(reason).expected("what the forward extremities resolve to"),
            None => match self.difference(view, &states, found) {
                None => return,
                Some(differences) => describe(view, finding, &differences),
            },
        };
        if self.report.add(finding.action("resolved again")) {
            let roots = extremities.iter().filter_map(|event| view.graph.state_after(event)).collect();
            db.execute(SET_ROOT, &[room_nid.into(), view.graph.resolved(&roots).into()]);
        }
    }

    /// Checks the next flat rows of the current state. Returns the last `key_idx` of them.
    fn check_keys(
        &mut self,
        view: &View<'_, '_>,
        entries: &mut BTreeMap<i32, i64>,
        counts: &mut Counts,
        after: i32,
    ) -> Option<i32> {
        let db = view.room.db;
        let args = [view.room.nid.into(), after.into(), (BATCH as i64).into()];
        let mut last = None;
        let mut members: Vec<(String, Option<i64>)> = Vec::new();
        for row in db.query(KEYS, &args) {
            let (key_idx, event_type, state_key): (i32, String, String) =
                (row.get("key_idx"), row.get("type"), row.get("state_key"));
            last = Some(key_idx);
            let (found, expected): (Option<i64>, Option<i64>) =
                (row.opt("current_event_nid"), entries.remove(&key_idx));
            if found != expected {
                let id = |nid: Option<i64>| match nid {
                    Some(nid) => view.graph.events.get(nid).event.event_id().to_owned(),
                    None => "no event".to_owned(),
                };
                let finding = Finding::new("current state").subject(format!("{event_type} {state_key:?}"));
                if self.report.add(finding.found(id(found)).expected(id(expected)).action("set")) {
                    db.execute(SET_KEY, &[view.room.nid.into(), key_idx.into(), expected.into()]);
                }
            }
            if event_type == "m.room.member" {
                members.push((state_key, expected));
            }
        }
        self.check_members(view, &members, counts);
        last
    }

    /// Positions and depths are only bounded: the events that had the extreme ones may have been deleted.
    fn check_bounds(&mut self, view: &View<'_, '_>, counts: &Counts) {
        let row = view.room.db.query_one(BOUNDS, &[view.room.nid.into()]);
        let [joined, invited] =
            ["joined_members", "invited_members"].map(|column| i64::from(row.get::<i32>(column)));
        let (depth, next_key_idx): (i64, i32) = (row.get("depth"), row.get("next_key_idx"));
        let (first_pos, last_pos): (i64, i64) = (row.get("first_pos"), row.get("last_pos"));
        let next_key_idx = i64::from(next_key_idx);
        let least_key = row.opt::<i32>("next_key").map_or(0, i64::from);
        let columns = [
            ("joined_members", joined, counts.joined),
            ("invited_members", invited, counts.invited),
            ("depth", depth, depth.max(row.opt("max_depth").unwrap_or(depth))),
            ("next_key_idx", next_key_idx, next_key_idx.max(least_key)),
            ("first_pos", first_pos, first_pos.min(row.opt("min_pos").unwrap_or(first_pos))),
            ("last_pos", last_pos, last_pos.max(row.opt("max_pos").unwrap_or(last_pos))),
        ];
        let mut repair = false;
        for (column, found, expected) in columns {
            if found != expected {
                let finding = Finding::new("room").subject(column).found(found).expected(expected);
                repair |= self.report.add(finding.action("set"));
            }
        }
        if repair {
            let [joined, invited, depth, next_key_idx, first_pos, last_pos] =
                columns.map(|(_, _, expected)| expected);
            let args = [
                view.room.nid.into(),
                (joined as i32).into(),
                (invited as i32).into(),
                depth.into(),
                (next_key_idx as i32).into(),
                first_pos.into(),
                last_pos.into(),
            ];
            view.room.db.execute(SET_BOUNDS, &args);
        }
    }
}
