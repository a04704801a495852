//! Checks the forward extremities, and which events are superseded.
//!
//! Backfilled events never become forward extremities. Whether an event that only backfilled events follow is
//! one depends on the order of arrival, so both answers are accepted. The next local event cites it if it is
//! one.

use std::collections::{BTreeSet, HashMap};

use super::{Verifier, View, references::ids, report::Finding};

/// The superseded events, and whether a live event supersedes them.
const SUPERSEDED: &str = "
    with recursive superseded (event_nid, live) as (
        select p.event_nid, is_live(e.pos)
        from events e
        cross join lateral unnest(e.prev_nids) as cited (event_nid)
        cross join lateral (
            select event_nid from events where event_nid = cited.event_nid and status <> accepted() offset 0
        ) p
        where e.room_nid = $1 and e.pos is not null
        union
        select p.event_nid, s.live
        from superseded s
        cross join lateral (select prev_nids from events where event_nid = s.event_nid offset 0) e
        cross join lateral unnest(e.prev_nids) as cited (event_nid)
        cross join lateral (
            select event_nid from events where event_nid = cited.event_nid and status <> accepted() offset 0
        ) p
    )
    select event_nid, bool_or(live) as superseded from superseded group by event_nid";

const FLAGGED: &str = "
    select event_nid from events where room_nid = $1 and status in (soft_failed(), rejected()) and superseded
    union all
    select event_nid from events
    where room_nid = $1 and pos is null and status in (accepted(), outlier()) and superseded
    union all
    select event_nid from events where room_nid = $1 and pos is not null and superseded";

/// The accepted events of these that may be superseded: a local user's join with a given state is newer. By
/// such a join this server comes back to a room, and earlier forward extremities end.
const ENDED: &str = "
    select e.event_nid
    from unnest($2) as wanted (event_nid)
    join events e on e.event_nid = wanted.event_nid
    where is_live(e.pos) and exists (
        select
        from events j
        join accounts a on a.user_nid = j.sender_nid
        where j.room_nid = $1 and j.pos > e.pos and is_live(j.pos) and j.state_given
            and j.type = 'm.room.member'
    )";

const SET_SUPERSEDED: &str = "update events set superseded = $2 where event_nid = $1";

const FORWARD_EXTREMITIES: &str = "
    select event_nid from events where room_nid = $1 and is_live(pos) and not superseded
    except
    (
        select unnest(prev_nids) from events where room_nid = $1 and pos is not null
        union all
        select unnest(e.prev_nids)
        from unnest($2) as s (event_nid)
        cross join lateral (select prev_nids from events where event_nid = s.event_nid offset 0) e
    )";

/// The forward extremities in `$3` that may be ones: live events that no live event follows.
const ACCEPTABLE: &str = "
    select e.event_nid
    from unnest($3) as wanted (event_nid)
    cross join lateral (
        select event_nid from events
        where event_nid = wanted.event_nid and room_nid = $1 and is_live(pos) and not superseded offset 0
    ) e
    except
    (
        select cited.event_nid
        from events e
        cross join lateral unnest(e.prev_nids) as cited (event_nid)
        where e.room_nid = $1 and is_live(e.pos) and cited.event_nid = any($3)
        union all
        select unnest(e.prev_nids)
        from unnest($2) as s (event_nid)
        cross join lateral (select prev_nids from events where event_nid = s.event_nid offset 0) e
    )";

const STORED: &str = "select forward_extremities from rooms where room_nid = $1";

const SET_EXTREMITIES: &str = "update rooms set forward_extremities = $2 where room_nid = $1";

impl Verifier {
    /// Checks the forward extremities and `events.superseded`.
    pub fn check_forward_extremities(&mut self, view: &View<'_, '_>) {
        let db = view.room.db;
        let room_nid = view.room.nid;
        let superseded: HashMap<i64, bool> = db
            .query(SUPERSEDED, &[room_nid.into()])
            .map(|row| (row.get("event_nid"), row.get("superseded")))
            .collect();
        self.check_superseded(view, &superseded);

        let all: Vec<i64> = superseded.keys().copied().collect();
        let live: Vec<i64> = superseded.iter().filter(|(_, live)| **live).map(|(nid, _)| *nid).collect();
        let stored: Vec<i64> = db.query_one(STORED, &[room_nid.into()]).get("forward_extremities");
        let extremities =
            db.query(FORWARD_EXTREMITIES, &[room_nid.into(), all.into()]).map(|row| row.get("event_nid"));
        let mut right: BTreeSet<i64> = extremities.collect();
        let args = [room_nid.into(), live.into(), stored.clone().into()];
        right.extend(db.query(ACCEPTABLE, &args).map(|row| row.get::<i64>("event_nid")));
        let stored: BTreeSet<i64> = stored.into_iter().collect();
        if stored == right {
            return;
        }
        let mut repair = false;
        let sides = [
            (right.difference(&stored), "not a forward extremity", "a forward extremity", "added"),
            (stored.difference(&right), "a forward extremity", "not a forward extremity", "removed"),
        ];
        for (nids, found, expected, action) in sides {
            for nid in nids {
                let finding = Finding::new("forward extremities").event(&ids(view, [nid]));
                repair |= self.report.add(finding.found(found).expected(expected).action(action));
            }
        }
        if repair {
            let right: Vec<i64> = right.into_iter().collect();
            db.execute(SET_EXTREMITIES, &[room_nid.into(), right.into()]);
        }
    }

    fn check_superseded(&mut self, view: &View<'_, '_>, superseded: &HashMap<i64, bool>) {
        let flagged = view.room.db.query(FLAGGED, &[view.room.nid.into()]).map(|row| row.get("event_nid"));
        let flagged: BTreeSet<i64> = flagged.collect();
        let live = superseded.iter().filter(|(nid, live)| **live && !flagged.contains(nid));
        let lacking: BTreeSet<i64> = live.map(|(nid, _)| *nid).collect();
        let surplus: Vec<i64> = flagged.iter().copied().filter(|nid| !superseded.contains_key(nid)).collect();
        let args = [view.room.nid.into(), surplus.clone().into()];
        let ended: BTreeSet<i64> = view.room.db.query(ENDED, &args).map(|row| row.get("event_nid")).collect();
        let surplus = surplus.iter().filter(|nid| !ended.contains(nid));
        let wrong = lacking.iter().map(|nid| (nid, true)).chain(surplus.map(|nid| (nid, false)));
        for (nid, expected) in wrong {
            let finding = Finding::new("superseded").event(&ids(view, [nid]));
            if self.report.add(finding.found(!expected).expected(expected).action("set")) {
                view.room.db.execute(SET_SUPERSEDED, &[(*nid).into(), expected.into()]);
            }
        }
    }
}
