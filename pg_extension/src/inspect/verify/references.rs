//! Checks the columns and rows that are made of `auth_events` and `prev_events`: `auth_nids`, `prev_nids`,
//! `missing_prev_events` and `event_auth_edges`.

use std::collections::BTreeSet;

use super::{Verifier, View, report::Finding};
use crate::room::graph_events::GraphEvent;

const MISSING: &str = "
    select m.event_nid, m.prev_event_id from missing_prev_events m where m.room_nid = $1";

const ADD_MISSING: &str = "
    insert into missing_prev_events (room_nid, prev_event_id, event_nid)
    select $1, prev_event_id, $2 from unnest($3) as prev_event_id
    on conflict do nothing";

const REMOVE_MISSING: &str = "
    delete from missing_prev_events where room_nid = $1 and event_nid = $2 and prev_event_id = any($3)";

const SET_AUTH: &str = "update events set auth_nids = $2 where event_nid = $1";

const SET_PREV: &str = "update events set prev_nids = $2 where event_nid = $1";

/// A rejected event needs no edges, but has some if it was an outlier before.
const LACKING_EDGES: &str = "
    select e.event_nid, e.event_id, cited.auth_nid, a.event_id as auth_id
    from unnest($1) as wanted (event_nid)
    cross join lateral (select * from events where event_nid = wanted.event_nid offset 0) e
    cross join lateral unnest(e.auth_nids) as cited (auth_nid)
    join events a on a.event_nid = cited.auth_nid
    where e.key_idx is not null and e.status <> rejected() and cited.auth_nid < e.event_nid and not exists (
        select from event_auth_edges edge
        where edge.auth_nid = cited.auth_nid and edge.event_nid = e.event_nid
    )";

const SURPLUS_EDGES: &str = "
    select edge.event_nid, c.event_id, edge.auth_nid, a.event_id as auth_id
    from unnest($1) as wanted (auth_nid)
    join event_auth_edges edge on edge.auth_nid = wanted.auth_nid
    join events a on a.event_nid = edge.auth_nid
    join events c on c.event_nid = edge.event_nid
    where c.key_idx is null or not edge.auth_nid = any(c.auth_nids)";

const ADD_EDGE: &str = "
    insert into event_auth_edges (event_nid, auth_nid) values ($1, $2) on conflict do nothing";

const REMOVE_EDGE: &str = "delete from event_auth_edges where event_nid = $1 and auth_nid = $2";

impl Verifier {
    /// Reads `missing_prev_events`, which the checks of events then compare.
    pub fn read_missing_prevs(&mut self, view: &View<'_, '_>) {
        for row in view.room.db.query(MISSING, &[view.room.nid.into()]) {
            self.missing_prevs.entry(row.get("event_nid")).or_default().insert(row.get("prev_event_id"));
        }
    }

    /// Checks what these events cite, and the edges from their auth events to them.
    pub fn check_references(&mut self, view: &View<'_, '_>, nids: &[i64]) {
        let events = view.graph.events;
        events.load(nids.iter().copied());
        let batch: Vec<_> = nids.iter().map(|nid| events.get(*nid)).collect();
        let whole = || batch.iter().filter(|event| !self.damaged.contains(&event.nid));
        events.load_ids(whole().flat_map(|event| event.event.auth_events().chain(event.event.prev_events())));
        for event in &batch {
            if self.damaged.contains(&event.nid) {
                self.missing_prevs.remove(&event.nid);
                continue;
            }
            self.check_auth_nids(view, event);
            self.check_prev_nids(view, event);
        }
        self.check_edges(view, nids);
    }

    /// Auth events that were stored later are not in `auth_nids`: nids increase along auth edges.
    fn check_auth_nids(&mut self, view: &View<'_, '_>, event: &GraphEvent) {
        let known = event.event.auth_events().filter_map(|id| view.graph.events.by_id(id));
        let known = known.filter(|known| known.room_nid == view.room.nid && known.nid < event.nid);
        let expected: BTreeSet<i64> = known.map(|known| known.nid).collect();
        let found: BTreeSet<i64> = event.auth_nids.iter().copied().collect();
        if found == expected {
            return;
        }
        let finding = Finding::new("auth events").event(event.event.event_id());
        let finding = finding.found(ids(view, &found)).expected(ids(view, &expected)).action("set");
        if self.report.add(finding) {
            let expected: Vec<i64> = expected.into_iter().collect();
            view.room.db.execute(SET_AUTH, &[event.nid.into(), expected.into()]);
            view.graph.events.forget(event.nid);
        }
    }

    /// Checks that the previous events in the graph are in `prev_nids`, and the others in
    /// `missing_prev_events`. Events that are not in the graph have neither.
    fn check_prev_nids(&mut self, view: &View<'_, '_>, event: &GraphEvent) {
        let mut expected = BTreeSet::new();
        let mut expected_missing = BTreeSet::new();
        for id in event.event.prev_events().filter(|_| event.is_in_graph()) {
            match view.graph.events.by_id(id).filter(|prev| self.is_prev(view, prev)) {
                Some(prev) => expected.insert(prev.nid),
                None => expected_missing.insert(id.to_owned()),
            };
        }
        let found: BTreeSet<i64> = event.prev_nids.iter().copied().collect();
        if found != expected {
            let finding = Finding::new("prev events").event(event.event.event_id());
            let finding = finding.found(ids(view, &found)).expected(ids(view, &expected)).action("set");
            if self.report.add(finding) {
                let expected: Vec<i64> = expected.into_iter().collect();
                view.room.db.execute(SET_PREV, &[event.nid.into(), expected.into()]);
                view.graph.events.forget(event.nid);
            }
        }
        let found = self.missing_prevs.remove(&event.nid).unwrap_or_default();
        let finding =
            |id: &String| Finding::new("missing prev events").event(event.event.event_id()).subject(id);
        for id in expected_missing.difference(&found) {
            let finding = finding(id).found("no row").expected("a row").action("added");
            if self.report.add(finding) {
                let args = [view.room.nid.into(), event.nid.into(), vec![id.clone()].into()];
                view.room.db.execute(ADD_MISSING, &args);
            }
        }
        for id in found.difference(&expected_missing) {
            let finding = finding(id).found("a row").expected("no row").action("removed");
            if self.report.add(finding) {
                remove_missing(view, event.nid, id);
            }
        }
    }

    fn is_prev(&self, view: &View<'_, '_>, prev: &GraphEvent) -> bool {
        prev.is_in_graph() && prev.room_nid == view.room.nid
    }

    /// Checks that all rows of `missing_prev_events` belong to events that were checked. To be called last.
    pub fn check_missing_prevs(&mut self, view: &View<'_, '_>) {
        for (nid, ids) in std::mem::take(&mut self.missing_prevs) {
            for id in ids {
                let finding = Finding::new("missing prev events").subject(&id);
                let finding = finding.found(format!("a row of event_nid {nid}")).expected("no row");
                if self.report.add(finding.action("removed")) {
                    remove_missing(view, nid, &id);
                }
            }
        }
    }

    /// Checks that state events which are not rejected have an edge from each of their auth events.
    fn check_edges(&mut self, view: &View<'_, '_>, nids: &[i64]) {
        let checks = [
            (LACKING_EDGES, "no row", "a row", "added", ADD_EDGE),
            (SURPLUS_EDGES, "a row", "no row", "removed", REMOVE_EDGE),
        ];
        for (select, found, expected, action, repair) in checks {
            for row in view.room.db.query(select, &[nids.to_vec().into()]) {
                let (event_nid, auth_nid): (i64, i64) = (row.get("event_nid"), row.get("auth_nid"));
                let (event_id, auth_id): (String, String) = (row.get("event_id"), row.get("auth_id"));
                let finding = Finding::new("auth edges").event(&event_id).subject(auth_id);
                if self.report.add(finding.found(found).expected(expected).action(action)) {
                    view.room.db.execute(repair, &[event_nid.into(), auth_nid.into()]);
                }
            }
        }
    }

    /// Adds the edges of an event that is no longer rejected.
    pub fn add_edges(&self, view: &View<'_, '_>, event: &GraphEvent) {
        for auth_nid in event.auth_nids.iter().filter(|auth_nid| **auth_nid < event.nid) {
            view.room.db.execute(ADD_EDGE, &[event.nid.into(), (*auth_nid).into()]);
        }
    }
}

fn remove_missing(view: &View<'_, '_>, nid: i64, id: &str) {
    view.room.db.execute(REMOVE_MISSING, &[view.room.nid.into(), nid.into(), vec![id.to_owned()].into()]);
}

/// The ids of events, for messages.
pub fn ids<'i>(view: &View<'_, '_>, nids: impl IntoIterator<Item = &'i i64>) -> String {
    let ids: Vec<String> =
        nids.into_iter().map(|nid| view.graph.events.get(*nid).event.event_id().to_owned()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}
