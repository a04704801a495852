//! Repairs a room's derived data with the checks of [`verify`](crate::inspect::verify).

use std::collections::{BTreeSet, HashMap};

use pgrx::{iter::TableIterator, name, pg_extern};

use crate::{
    base::spi::Mode,
    inspect::verify::{BATCH, Verifier, View, report::Finding, walk::Walk},
};

/// A given state can contain events that come later in topological order. Their repair in one round shows in
/// the next.
const MAX_ROUNDS: usize = 4;

const LOCK: &str = "select room_nid from rooms where room_nid = $1 for update";

const FORGET_RESOLUTIONS: &str = "delete from state_resolutions where room_nid = $1";

/// Backends may remember wrong events of the room, and clients must be told of the changes.
const REWRITTEN: &str = "
    update rooms set state_rewrites = state_rewrites + 1, xid = pg_current_xact_id() where room_nid = $1";

const CITED: &str = "
    select e.event_nid, e.prev_nids || e.auth_nids as cited_nids
    from unnest($1) as wanted (event_nid)
    cross join lateral (select * from events where event_nid = wanted.event_nid offset 0) e";

/// Repairs a room under its lock. Returns a row per disagreement; `action` is what was done, and NULL if the
/// disagreement cannot be repaired.
#[pg_extern]
#[expect(clippy::type_complexity, reason = "the macro reads the columns from here")]
fn repair_room(
    room_id: &str,
) -> TableIterator<
    'static,
    (
        name!(check_name, &'static str),
        name!(event_id, Option<String>),
        name!(subject, Option<String>),
        name!(found, Option<String>),
        name!(expected, Option<String>),
        name!(action, Option<&'static str>),
    ),
> {
    let mut verifier = Verifier::new(room_id, Mode::Write);
    for _ in 0..MAX_ROUNDS {
        verifier.report.begin_round();
        repair(&mut verifier);
        if !verifier.report.repaired {
            break;
        }
    }
    TableIterator::new(verifier.report.finish().map(|finding| {
        let Finding { check, event_id, subject, found, expected, action } = finding;
        (check, event_id, subject, found, expected, action)
    }))
}

/// Runs the checks in the order of their dependencies: each relies on what those before it repaired.
fn repair(verifier: &mut Verifier) {
    verifier.with_view(|_, view| {
        view.room.db.execute(LOCK, &[view.room.nid.into()]);
        view.room.db.execute(FORGET_RESOLUTIONS, &[view.room.nid.into()]);
    });
    verifier.check_nodes();
    let nids = all_events(verifier);
    in_batches(verifier, "read", &nids, Verifier::check_events);
    verifier.with_view(Verifier::read_missing_prevs);
    in_batches(verifier, "cited", &nids, Verifier::check_references);
    verifier.with_view(Verifier::check_missing_prevs);
    let nids = oldest_first(verifier, nids);
    in_batches(verifier, "judged", &nids, Verifier::check_states);
    verifier.with_view(Verifier::check_waiting_redactions);
    verifier.with_view(Verifier::check_forward_extremities);
    verifier.check_current_state();
    if verifier.report.repaired {
        verifier.with_view(|_, view| view.room.db.execute(REWRITTEN, &[view.room.nid.into()]));
    }
}

fn all_events(verifier: &mut Verifier) -> Vec<i64> {
    let mut walk = Walk::default();
    let mut all = Vec::new();
    loop {
        let nids = verifier.with_view(|_, view| walk.next(view));
        if nids.is_empty() {
            return all;
        }
        all.extend(nids);
    }
}

fn in_batches(
    verifier: &mut Verifier,
    what: &str,
    nids: &[i64],
    check: fn(&mut Verifier, &View<'_, '_>, &[i64]),
) {
    let mut done = 0;
    for batch in nids.chunks(BATCH) {
        verifier.with_view(|verifier, view| check(verifier, view, batch));
        done += batch.len();
        verifier.tell_progress(what, done, batch.len());
    }
}

/// Sorts events topologically. Events in a cycle, which only damage can make, and all that follow it are
/// sorted by nid.
fn oldest_first(verifier: &mut Verifier, mut nids: Vec<i64>) -> Vec<i64> {
    nids.sort_unstable();
    let known: BTreeSet<i64> = nids.iter().copied().collect();
    let mut waiting_for: HashMap<i64, usize> = HashMap::new();
    let mut cited_by: HashMap<i64, Vec<i64>> = HashMap::new();
    for batch in nids.chunks(BATCH) {
        verifier.with_view(|_, view| {
            for row in view.room.db.query(CITED, &[batch.to_vec().into()]) {
                let nid: i64 = row.get("event_nid");
                let cited: BTreeSet<i64> = row.get::<Vec<i64>>("cited_nids").into_iter().collect();
                let cited: Vec<i64> = cited.into_iter().filter(|cited| known.contains(cited)).collect();
                waiting_for.insert(nid, cited.len());
                cited.into_iter().for_each(|cited| cited_by.entry(cited).or_default().push(nid));
            }
        });
    }
    let mut ready: BTreeSet<i64> =
        nids.iter().copied().filter(|nid| waiting_for.get(nid) == Some(&0)).collect();
    let mut order = Vec::with_capacity(nids.len());
    while let Some(nid) = ready.pop_first() {
        order.push(nid);
        for citing in cited_by.remove(&nid).unwrap_or_default() {
            if let Some(left) = waiting_for.get_mut(&citing) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(citing);
                }
            }
        }
    }
    let ordered: BTreeSet<i64> = order.iter().copied().collect();
    order.extend(nids.into_iter().filter(|nid| !ordered.contains(nid)));
    order
}
