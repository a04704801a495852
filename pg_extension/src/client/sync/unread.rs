//! Unread counts, by the default push rules. Client-Server API, "Receiving notifications".
//!
//! `notify_seq`, of the room and of each event, counts the events of the main timeline that notify: an unread
//! count is a difference, less what the reader is not to be told of. Mentions and events in threads are
//! counted by queries, with indexes that contain nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::section::Section;
use crate::base::spi::{Db, nids_literal};

/// `highlight_count` and `notification_count`
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Counts {
    highlight_count: i64,
    notification_count: i64,
}

/// The counts of a room for one user.
#[derive(Debug, Default, Clone)]
pub struct Unread {
    /// The counts of events that are in no thread.
    main: Counts,
    /// The counts of threads, by the event id of the thread's root.
    pub threads: BTreeMap<String, Counts>,
}

impl Unread {
    /// `unread_notifications`: of the main timeline only, if the client gets the counts of threads
    /// separately.
    pub fn counts(&self, threads_apart: bool) -> Counts {
        let mut counts = self.main;
        if !threads_apart {
            for thread in self.threads.values() {
                counts.highlight_count += thread.highlight_count;
                counts.notification_count += thread.notification_count;
            }
        }
        counts
    }
}

/// Events up to the newest of the user's receipts and own events are read. What notified and was redacted
/// since, or was sent by users whom the reader ignores, is subtracted. `offset 0` makes the planner use
/// `events_mentions`: while the table has no statistics, it would read all of `events_sender`, which does not
/// begin with the room.
const MAIN: &str = "
    select w.number, seen.notify_seq as read,
        (
            select array[count(*), count(*) filter (where not e.notifies)]
            from (
                select notifies, thread_root_nid, sender_nid, mentions
                from events
                where room_nid = w.room_nid and pos > read.pos and mentions is not null
                offset 0
            ) e
            where e.thread_root_nid is null and e.sender_nid <> w.user_nid
                and e.sender_nid <> all (w.ignored)
                and e.mentions && array[w.user_id, '@room'] collate \"C\"
        ) as mentions,
        case
            when w.notify_seq > seen.notify_seq then (
                select count(*)
                from (
                    select
                    from events
                    where room_nid = w.room_nid and pos > read.pos and notified
                    limit $6
                ) redacted
            ) + (
                select count(*)
                from (
                    select
                    from unnest(w.ignored) i (user_nid)
                    cross join lateral (
                        select
                        from events
                        where sender_nid = i.user_nid and room_nid = w.room_nid and pos > read.pos
                            and thread_root_nid is null and notifies
                        offset 0
                    ) e
                    limit $6
                ) ignored
            )
            else 0
        end as uncounted
    from (
        select number, room_nid, user_nid, user_id, notify_seq, ignored::bigint[]
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[])
            with ordinality w (room_nid, user_nid, user_id, notify_seq, ignored, number)
        offset 0
    ) w
    cross join lateral (
        select greatest(
            (
                select max(pos)
                from receipts
                where room_nid = w.room_nid and user_nid = w.user_nid and thread_id in ('', 'main')
            ),
            (
                select pos
                from events
                where room_nid = w.room_nid and sender_nid = w.user_nid and thread_root_nid is null
                    and pos is not null
                order by pos desc
                limit 1
            )
        ) as pos
    ) read
    cross join lateral (
        select coalesce(
            (
                select notify_seq
                from events
                where room_nid = w.room_nid and pos <= read.pos
                order by pos desc
                limit 1
            ),
            0
        ) as notify_seq
    ) seen";

/// How many redacted or ignored events are subtracted at most. Clients show no such numbers.
const MAX_UNCOUNTED: i64 = 10_000;

/// A thread is read up to the newest of the unthreaded receipt, the thread's receipt, the user's own events
/// in it, and the user's member event, as events from before the join do not count.
const THREADS: &str = "
    select w.number, t.event_id, count(*) filter (where e.notifies or mentioned.it) as notification_count,
        count(*) filter (where mentioned.it) as highlight_count
    from (
        select number, room_nid, user_nid, user_id, member_nid, ignored::bigint[]
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[])
            with ordinality w (room_nid, user_nid, user_id, member_nid, ignored, number)
        offset 0
    ) w
    cross join lateral (
        select greatest(
            (
                select max(pos)
                from receipts
                where room_nid = w.room_nid and user_nid = w.user_nid and thread_id = ''
            ),
            (select pos from events where event_nid = w.member_nid)
        ) as pos
    ) read
    join events e
        on e.room_nid = w.room_nid and e.pos > read.pos and e.thread_root_nid is not null
        and e.sender_nid <> w.user_nid and e.sender_nid <> all (w.ignored)
    cross join lateral (
        select coalesce(e.mentions && array[w.user_id, '@room'] collate \"C\", false) as it
    ) mentioned
    join events t on t.event_nid = e.thread_root_nid
    where (e.notifies or mentioned.it)
        and not exists (
            select
            from receipts c
            where c.room_nid = w.room_nid and c.user_nid = w.user_nid and c.thread_id = t.event_id
                and c.pos >= e.pos
        )
        and not exists (
            select
            from events o
            where o.thread_root_nid = e.thread_root_nid and o.pos > e.pos and o.sender_nid = w.user_nid
        )
    group by w.number, t.event_id";

/// Counts the unread notifications of each section.
pub fn count(db: &Db<'_>, sections: &mut [Section<'_>]) {
    if sections.is_empty() {
        return;
    }
    let rooms: Vec<i64> = sections.iter().map(|section| section.part.room.room_nid).collect();
    let users: Vec<i64> = sections.iter().map(|section| section.reader.user_nid).collect();
    let user_ids: Vec<String> = sections.iter().map(|section| section.reader.user_id.to_string()).collect();
    let members: Vec<i64> = sections.iter().map(|section| section.part.member_event_nid).collect();
    let ignored = ignored(db, sections);
    let seqs: Vec<i64> = sections.iter().map(|section| section.part.room.notify_seq).collect();
    let args = [
        rooms.clone().into(),
        users.clone().into(),
        user_ids.clone().into(),
        seqs.into(),
        ignored.clone().into(),
        MAX_UNCOUNTED.into(),
    ];
    for row in db.query(MAIN, &args) {
        let index = row.get::<i64>("number") as usize - 1;
        let (read, uncounted): (i64, i64) = (row.get("read"), row.get("uncounted"));
        let mentions: Vec<i64> = row.get("mentions");
        let [highlight_count, otherwise_silent] = mentions[..] else { unreachable!("two counts") };
        let notifying = (sections[index].part.room.notify_seq - read - uncounted).max(0);
        let notification_count = notifying + otherwise_silent;
        sections[index].unread.main = Counts { highlight_count, notification_count };
    }
    let args = [rooms.into(), users.into(), user_ids.into(), members.into(), ignored.into()];
    for row in db.query(THREADS, &args) {
        let counts = Counts {
            notification_count: row.get("notification_count"),
            highlight_count: row.get("highlight_count"),
        };
        sections[row.get::<i64>("number") as usize - 1].unread.threads.insert(row.get("event_id"), counts);
    }
}

const USERS: &str = "select user_id, user_nid from users where user_id = any($1)";

/// The nids of the users whom the reader of each section ignores, as array literals.
fn ignored(db: &Db<'_>, sections: &[Section<'_>]) -> Vec<String> {
    let ids = |section: &Section<'_>| {
        // `text` cannot hold U+0000, so no user has such an id.
        section.reader.ignored.iter().filter(|id| !id.contains('\0')).cloned().collect::<Vec<_>>()
    };
    let all: BTreeSet<String> = sections.iter().flat_map(ids).collect();
    let nids: HashMap<String, i64> = if all.is_empty() {
        HashMap::new()
    } else {
        let all: Vec<String> = all.into_iter().collect();
        db.query(USERS, &[all.into()]).map(|row| (row.get("user_id"), row.get("user_nid"))).collect()
    };
    let literal = |section: &Section<'_>| {
        nids_literal(section.reader.ignored.iter().filter_map(|id| nids.get(id).copied()))
    };
    sections.iter().map(literal).collect()
}
