//! Checks the statuses of events: by their auth events, and by the state before them.
//!
//! Whether an event is soft-failed depends on the order of arrival, so accepted and soft-failed are not told
//! apart.

use matriarch_rules::{Rejection, signature::Verified};

use super::{
    Verifier, View,
    events::{find_or_add_key, set_pos},
    report::Finding,
};
use crate::{
    intake::Keys,
    room::{
        graph_events::{GraphEvent, Status},
        state_at::StateAt,
    },
};

const SET_VERDICT: &str = "
    update events
    set status = $2, status_reason = $3, key_idx = coalesce(key_idx, $4), pos = null, room_root = null,
        superseded = superseded and $2 <> 0, xid = pg_current_xact_id()
    where event_nid = $1";

impl Verifier {
    /// Checks the status of an event. The state before it must be checked.
    pub fn check_verdict(&mut self, view: &View<'_, '_>, event: &GraphEvent) {
        let rejection = self.judge(view, event);
        let (status, reason) = match (event.status, rejection) {
            (Status::Rejected, None) if event.is_in_graph() => (Status::Accepted, None),
            (Status::Rejected, None) => (Status::Outlier, None),
            (Status::Accepted | Status::SoftFailed | Status::Outlier, Some(reason)) => {
                (Status::Rejected, Some(reason))
            }
            _ => return,
        };
        if !self.can_judge(view, event) {
            return;
        }
        let finding = Finding::new("verdict").event(event.event.event_id()).found(event.status.name());
        let expected = match &reason {
            Some(reason) => format!("{}: {reason}", status.name()),
            None => status.name().to_owned(),
        };
        if self.report.add(finding.expected(expected).action("judged again")) {
            let key = event.event.state_key().filter(|_| status != Status::Rejected);
            let key_idx = key.map(|state_key| find_or_add_key(view, event.event.event_type(), state_key));
            let args = [event.nid.into(), status.code().into(), reason.into(), key_idx.into()];
            view.room.db.execute(SET_VERDICT, &args);
            if status == Status::Accepted {
                set_pos(view, event.nid);
            }
            if key_idx.is_some() {
                self.add_edges(view, event);
            }
            view.graph.events.forget(event.nid);
        } else {
            self.doubted.insert(event.nid);
        }
    }

    /// The reason why the event must be rejected; `None` if it must not.
    fn judge(&self, view: &View<'_, '_>, event: &GraphEvent) -> Option<String> {
        let missing_auth_event =
            event.event.auth_events().any(|id| {
                !view.graph.events.by_id(id).is_some_and(|known| event.auth_nids.contains(&known.nid))
            }) || (view.room.version.room_id_is_create_event_id
                && view.graph.create_nid.is_none_or(|create| create > event.nid));
        if missing_auth_event && event.status == Status::Rejected {
            return Some("by its auth events: one is not known".to_owned());
        }
        let by = |what: &str| {
            let what = what.to_owned();
            move |rejection: Rejection| format!("by {what}: {rejection}")
        };
        let verified = Verified { content_hash: true, join_authorized: is_join_authorized(view, event) };
        let by_auth_events = view.graph.check_by_auth_events(&event.event, verified);
        let by_state = || match event.state_before.filter(|_| event.is_in_graph()) {
            Some(root) => view.graph.check_by_state(&event.event, StateAt::root(root)),
            None => Ok(()),
        };
        by_auth_events
            .map_err(by("its auth events"))
            .and_then(|()| by_state().map_err(by("the state before it")))
            .err()
    }

    /// Whether all that the status depends on still has its content. Redaction may have removed it.
    fn can_judge(&self, view: &View<'_, '_>, event: &GraphEvent) -> bool {
        let state = event.state_before.map(StateAt::root);
        let by_state = state.map(|state| view.graph.auth_state(&event.event, state)).unwrap_or_default();
        self.is_reliable(event)
            && event
                .auth_nids
                .iter()
                .chain(by_state.values())
                .chain(view.graph.create_nid.iter())
                .all(|nid| self.is_reliable(&view.graph.events.get(*nid)))
    }
}

/// Whether the server that authorized the join signed it, as far as its keys are known. For a rejected event,
/// a key that was not valid then is a sufficient reason.
fn is_join_authorized(view: &View<'_, '_>, event: &GraphEvent) -> bool {
    if !event.event.content().contains_key("join_authorised_via_users_server") {
        return true;
    }
    let version = view.room.version;
    let keys = Keys::load(view.room.db, version, [&*event.event].into_iter(), Default::default());
    if event.status == Status::Rejected {
        return keys.check(version, &event.event).is_ok_and(|verified| verified.join_authorized);
    }
    let verified = keys.check_at_any_time(version, &event.event);
    !keys.knows(version, &event.event) || verified.is_ok_and(|verified| verified.join_authorized)
}
