//! Federation transactions to other servers: a node claims destinations, sends their transactions, and ends
//! them.
//!
//! Nothing that is written here must be durable at once. A claim that is lost in a crash is made again, and a
//! transaction whose end is lost is sent again with the same id.

use std::collections::{BTreeMap, HashMap};

use matriarch_rules::{canonical_json::to_canonical_lenient, json_text::object_text};
use pgrx::{iter::TableIterator, pg_extern};
use serde_json::{Value, json};

use crate::{
    base::{
        connection::connect,
        spi::{Db, Mode, nids_literal},
    },
    client::{end_to_end_encryption::keys, presence},
};

/// The limits of PDUs and EDUs in one transaction, as the specification has them.
const MAX_PDUS: usize = 50;
const MAX_EDUS: i64 = 100;

/// The row of a transaction to send.
type TransactionRow = (
    pgrx::name!(destination_nid, i64),
    pgrx::name!(destination, String),
    pgrx::name!(txn_id, String),
    pgrx::name!(body, String),
);

type TransactionRows = TableIterator<'static, TransactionRow>;

const DO_NOT_WAIT_FOR_DISK: &str = "select set_config('synchronous_commit', 'off', true)";

const RENEW: &str = "
    update destinations
    set leased_until = now() + $3 * interval '1 second'
    where destination_nid = any($2) and lease = $1";

/// Skips from one destination that has pending rooms to the next, so that it does not read all pending rooms
/// of each.
const CLAIM: &str = "
    with recursive with_events (destination_nid) as (
        select min(destination_nid) from destination_rooms where pending_since is not null
        union all
        select (
            select min(destination_nid)
            from destination_rooms
            where pending_since is not null and destination_nid > w.destination_nid
        )
        from with_events w
        where w.destination_nid is not null
    ),
    with_edus (destination_nid) as (
        select min(destination_nid) from outgoing_edus
        union all
        select (select min(destination_nid) from outgoing_edus where destination_nid > w.destination_nid)
        from with_edus w
        where w.destination_nid is not null
    ),
    ready as (
        select d.destination_nid
        from (select destination_nid from with_events union select destination_nid from with_edus) w
        join destinations d on d.destination_nid = w.destination_nid
        where (d.retry_at is null or d.retry_at <= now())
            and (d.leased_until is null or d.leased_until <= now())
        order by d.destination_nid
        limit $2
        for update of d skip locked
    )
    update destinations d
    set lease = $1, leased_until = now() + $3 * interval '1 second'
    from ready r
    where d.destination_nid = r.destination_nid
    returning d.destination_nid";

/// Claims up to `max` destinations for a node, for `seconds` seconds, and renews the node's leases of the
/// destinations `renewed`. Returns the transactions to send.
#[pg_extern(volatile)]
fn claim_transactions(lease: &str, max: i64, seconds: f64, renewed: Vec<i64>) -> TransactionRows {
    rows(connect(Mode::Write, |db| {
        db.execute(DO_NOT_WAIT_FOR_DISK, &[]);
        if !renewed.is_empty() {
            db.execute(RENEW, &[lease.into(), renewed.into(), seconds.into()]);
        }
        if max <= 0 {
            return Vec::new();
        }
        let claimed = db.query(CLAIM, &[lease.into(), max.into(), seconds.into()]);
        prepare(db, claimed.map(|row| row.get("destination_nid")).collect())
    }))
}

const HOLD: &str = "
    select txn_event_nids, txn_edu_ids, txn_refusals
    from destinations
    where destination_nid = $1 and lease = $2 and txn_id = $3
    for update";

/// What remains to be sent in a room counts as pending since the transaction was made.
const ADVANCE: &str = "
    with sent as (
        select room_nid, max(event_nid) as event_nid from events where event_nid = any($2) group by room_nid
    ),
    locked as (
        select r.room_nid, s.event_nid
        from sent s
        join destination_rooms r on r.destination_nid = $1 and r.room_nid = s.room_nid
        where r.sent_nid < s.event_nid
        order by r.room_nid
        for update of r
    )
    update destination_rooms r
    set sent_nid = l.event_nid, pending_since = greatest(r.pending_since, d.txn_created_at)
    from locked l, destinations d
    where r.destination_nid = $1 and r.room_nid = l.room_nid and d.destination_nid = $1";

const DELETE_EDUS: &str = "delete from outgoing_edus where destination_nid = $1 and edu_id = any($2)";

const SUCCEED: &str = "
    update destinations
    set txn_id = null, txn_created_at = null, txn_event_nids = null, txn_edu_ids = null, txn_refusals = 0,
        retry_at = null, retry_interval = null, failing_since = null, last_error = $2,
        last_success_at = case when $2 is null then now() else last_success_at end
    where destination_nid = $1";

/// Each pause is twice as long as the last, from four seconds to a day. A random addition of up to a fifth
/// keeps nodes from sending to a server together when it is back.
const FAIL: &str = "
    update destinations
    set lease = null, leased_until = null, txn_refusals = txn_refusals + $3::integer,
        failing_since = coalesce(failing_since, now()), last_error = $2,
        retry_interval = least(coalesce(retry_interval * 2, interval '4 seconds'), interval '1 day'),
        retry_at = now()
            + least(coalesce(retry_interval * 2, interval '4 seconds'), interval '1 day')
                * (1 + 0.2 * random())
    where destination_nid = $1";

/// Keeps the first half of a transaction's contents under a new id; the rest is pending still.
const HALVE: &str = "
    update destinations
    set txn_id = gen_random_uuid()::text, txn_event_nids = $2, txn_edu_ids = $3, txn_refusals = 0
    where destination_nid = $1";

/// Ends a transaction. Returns the next one for the destination; the lease ends if there is nothing more to
/// send.
///
/// - `error`: why the destination did not accept the transaction; NULL if it did.
/// - `give_up_after`: NULL if the destination, or the way to it, is at fault: it is left alone for a while.
///   Otherwise something in the transaction is. Then it is taken apart, so that all else arrives: the next
///   transaction is the first half of it, until one event or EDU is alone. That one is given up, as if it had
///   been sent, when it was refused so many times.
#[pg_extern(volatile)]
fn finish_transaction(
    lease: &str,
    destination_nid: i64,
    txn_id: &str,
    error: Option<&str>,
    give_up_after: Option<i32>,
) -> TableIterator<
    'static,
    (
        pgrx::name!(given_up, bool),
        pgrx::name!(next_txn_id, Option<String>),
        pgrx::name!(next_body, Option<String>),
    ),
> {
    let (given_up, next) = connect(Mode::Write, |db| {
        db.execute(DO_NOT_WAIT_FOR_DISK, &[]);
        let Some(held) = db.query_opt(HOLD, &[destination_nid.into(), lease.into(), txn_id.into()]) else {
            // Another node has the lease, or the queue was purged.
            return (false, None);
        };
        let (mut event_nids, mut edu_ids): (Vec<i64>, Vec<i64>) =
            (held.get("txn_event_nids"), held.get("txn_edu_ids"));
        let half = (event_nids.len() + edu_ids.len()) / 2;
        if error.is_some() && give_up_after.is_some() && half > 0 {
            event_nids.truncate(half);
            edu_ids.truncate(half - event_nids.len());
            db.execute(HALVE, &[destination_nid.into(), event_nids.into(), edu_ids.into()]);
            return (false, prepare(db, vec![destination_nid]).pop());
        }
        let refusals = held.get::<i32>("txn_refusals") + 1;
        let given_up = error.is_some() && give_up_after.is_some_and(|most| refusals >= most);
        if error.is_some() && !given_up {
            let refused = i32::from(give_up_after.is_some());
            db.execute(FAIL, &[destination_nid.into(), error.into(), refused.into()]);
            return (false, None);
        }
        db.execute(ADVANCE, &[destination_nid.into(), event_nids.into()]);
        db.execute(DELETE_EDUS, &[destination_nid.into(), edu_ids.into()]);
        db.execute(SUCCEED, &[destination_nid.into(), error.into()]);
        (given_up, prepare(db, vec![destination_nid]).pop())
    });
    let (txn_id, body) = next.map(|(_, _, txn_id, body)| (txn_id, body)).unzip();
    TableIterator::once((given_up, txn_id, body))
}

const RELEASE: &str = "update destinations set lease = null, leased_until = null where lease = $1";

/// Ends the leases of a node that stops.
#[pg_extern(volatile)]
fn release_transactions(lease: &str) {
    connect(Mode::Write, |db| db.execute(RELEASE, &[lease.into()]));
}

const RETRY: &str = "
    update destinations
    set retry_at = now()
    where server_name = $1 and retry_at > now()";

/// Ends the pause of a server that sent something. If it does not answer, the next pause is longer.
#[pg_extern(volatile)]
fn retry_transactions(server_name: &str) {
    connect(Mode::Write, |db| db.execute(RETRY, &[server_name.into()]));
}

/// What a transaction contains.
#[derive(Default)]
struct Parts {
    event_nids: Vec<i64>,
    edu_ids: Vec<i64>,
}

const BEGUN: &str = "
    select destination_nid, txn_event_nids, txn_edu_ids
    from destinations
    where destination_nid = any($1) and txn_id is not null";

/// For a room that has been pending for more than an hour, only the newest event is sent. The destination can
/// fetch the others.
const EVENTS: &str = "
    select c.destination_nid, r.room_nid, e.event_nid
    from unnest($1) as c (destination_nid)
    cross join lateral (
        select room_nid, sent_nid, coalesce(left_nid, 9223372036854775807) as left_nid, pending_since
        from destination_rooms
        where destination_nid = c.destination_nid and pending_since is not null
        order by pending_since
        limit 50
    ) r
    left join lateral (
        (
            select event_nid
            from events
            where r.pending_since >= now() - interval '1 hour'
                and room_nid = r.room_nid and outgoing and event_nid > r.sent_nid and event_nid <= r.left_nid
            order by event_nid
            limit 50
        )
        union all
        (
            select event_nid
            from events
            where r.pending_since < now() - interval '1 hour'
                and room_nid = r.room_nid and outgoing and event_nid > r.sent_nid and event_nid <= r.left_nid
            order by event_nid desc
            limit 1
        )
    ) e on true
    order by c.destination_nid, r.pending_since, r.room_nid, e.event_nid";

const EDUS: &str = "
    select c.destination_nid, e.edu_id
    from unnest($1) as c (destination_nid)
    cross join lateral (
        select edu_id from outgoing_edus where destination_nid = c.destination_nid order by edu_id limit $2
    ) e
    order by c.destination_nid, e.edu_id";

const BEGIN: &str = "
    update destinations d
    set txn_id = gen_random_uuid()::text, txn_created_at = now(), txn_event_nids = p.event_nids::bigint[],
        txn_edu_ids = p.edu_ids::bigint[], txn_refusals = 0
    from unnest($1, $2, $3) as p (destination_nid, event_nids, edu_ids)
    where d.destination_nid = p.destination_nid";

const UNLEASE: &str = "
    update destinations set lease = null, leased_until = null where destination_nid = any($1)";

/// Prepares the transactions of claimed destinations. A transaction that was begun before is repeated.
/// Destinations for which there is nothing to send are released.
fn prepare(db: &Db<'_>, destinations: Vec<i64>) -> Vec<TransactionRow> {
    let mut parts: BTreeMap<i64, Parts> = db
        .query(BEGUN, &[destinations.clone().into()])
        .map(|row| {
            (
                row.get("destination_nid"),
                Parts { event_nids: row.get("txn_event_nids"), edu_ids: row.get("txn_edu_ids") },
            )
        })
        .collect();
    let new: Vec<i64> = destinations.into_iter().filter(|nid| !parts.contains_key(nid)).collect();
    if !new.is_empty() {
        let mut begun = select(db, &new);
        let idle: Vec<i64> = new.into_iter().filter(|nid| !begun.contains_key(nid)).collect();
        if !idle.is_empty() {
            db.execute(UNLEASE, &[idle.into()]);
        }
        if !begun.is_empty() {
            db.execute(
                BEGIN,
                &[
                    begun.keys().copied().collect::<Vec<i64>>().into(),
                    begun
                        .values()
                        .map(|p| nids_literal(p.event_nids.iter().copied()))
                        .collect::<Vec<_>>()
                        .into(),
                    begun
                        .values()
                        .map(|p| nids_literal(p.edu_ids.iter().copied()))
                        .collect::<Vec<_>>()
                        .into(),
                ],
            );
            parts.append(&mut begun);
        }
    }
    if parts.is_empty() { Vec::new() } else { write(db, &parts) }
}

/// Chooses what new transactions contain. Rooms for which there is nothing to send are no longer pending.
fn select(db: &Db<'_>, destinations: &[i64]) -> BTreeMap<i64, Parts> {
    let mut chosen: BTreeMap<i64, Parts> = BTreeMap::new();
    let mut idle: Vec<(i64, i64)> = Vec::new();
    for row in db.query(EVENTS, &[destinations.to_vec().into()]) {
        let (destination, room): (i64, i64) = (row.get("destination_nid"), row.get("room_nid"));
        match row.opt::<i64>("event_nid") {
            None => idle.push((destination, room)),
            Some(event_nid) => {
                let parts = chosen.entry(destination).or_default();
                if parts.event_nids.len() < MAX_PDUS {
                    parts.event_nids.push(event_nid);
                }
            }
        }
    }
    clear_pending(db, idle);
    for row in db.query(EDUS, &[destinations.to_vec().into(), MAX_EDUS.into()]) {
        chosen.entry(row.get("destination_nid")).or_default().edu_ids.push(row.get("edu_id"));
    }
    chosen
}

/// Writers of a room hold its lock until they commit. So a room that can be locked has no outgoing event that
/// this query cannot see. Other rooms are left for later.
const LOCK_ROOMS: &str = "
    select room_nid from rooms where room_nid = any($1) order by room_nid for key share skip locked";

const CLEAR_PENDING: &str = "
    with settled as (
        select r.destination_nid, r.room_nid, r.left_nid
        from unnest($1, $2) as idle (destination_nid, room_nid)
        join destination_rooms r on r.destination_nid = idle.destination_nid and r.room_nid = idle.room_nid
        where not exists (
            select from events e
            where e.room_nid = r.room_nid and e.outgoing and e.event_nid > r.sent_nid
                and e.event_nid <= coalesce(r.left_nid, 9223372036854775807)
        )
        order by r.destination_nid, r.room_nid
        for update of r
    ),
    removed as (
        delete from destination_rooms r
        using settled s
        where s.left_nid is not null and r.destination_nid = s.destination_nid and r.room_nid = s.room_nid
    )
    update destination_rooms r
    set pending_since = null
    from settled s
    where s.left_nid is null and r.destination_nid = s.destination_nid and r.room_nid = s.room_nid";

fn clear_pending(db: &Db<'_>, mut idle: Vec<(i64, i64)>) {
    if idle.is_empty() {
        return;
    }
    let rooms: Vec<i64> = idle.iter().map(|(_, room)| *room).collect();
    let locked: Vec<i64> = db.query(LOCK_ROOMS, &[rooms.into()]).map(|row| row.get("room_nid")).collect();
    idle.retain(|(_, room)| locked.contains(room));
    let (destinations, rooms): (Vec<i64>, Vec<i64>) = idle.into_iter().unzip();
    db.execute(CLEAR_PENDING, &[destinations.into(), rooms.into()]);
}

const HEADERS: &str = "
    select d.destination_nid, d.server_name, d.txn_id,
        (extract(epoch from d.txn_created_at) * 1000)::bigint as txn_created_ts,
        s.server_name as own_server_name
    from destinations d, server s
    where d.destination_nid = any($1)
    order by d.destination_nid";

const PDUS: &str = "select event_nid, json from events where event_nid = any($1)";

/// An EDU that has replaced one of the transaction is sent in the next.
const CONTENTS: &str = "
    select e.destination_nid, e.edu_type, e.content
    from unnest($1, $2) as wanted (destination_nid, edu_id)
    join outgoing_edus e on e.destination_nid = wanted.destination_nid and e.edu_id = wanted.edu_id
    where e.edu_type <> 'm.typing' or e.created_at > now() - interval '1 minute'
    order by e.destination_nid, e.edu_id";

/// Writes the transactions.
fn write(db: &Db<'_>, parts: &BTreeMap<i64, Parts>) -> Vec<TransactionRow> {
    let event_nids: Vec<i64> = parts.values().flat_map(|parts| parts.event_nids.iter().copied()).collect();
    let pdus: HashMap<i64, String> =
        db.query(PDUS, &[event_nids.into()]).map(|row| (row.get("event_nid"), row.get("json"))).collect();
    let (of, ids): (Vec<i64>, Vec<i64>) = parts
        .iter()
        .flat_map(|(destination, parts)| parts.edu_ids.iter().map(|edu_id| (*destination, *edu_id)))
        .unzip();
    let mut of_destination: HashMap<i64, Vec<String>> = HashMap::new();
    let mut add = |destination: i64, edu_type: &str, content: &str| {
        let edu = object_text(|edu| {
            edu.raw("content", content).value("edu_type", edu_type);
        });
        of_destination.entry(destination).or_default().push(edu);
    };
    let mut present: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in db.query(CONTENTS, &[of.into(), ids.into()]) {
        let (destination, edu_type, queued): (i64, String, String) =
            (row.get("destination_nid"), row.get("edu_type"), row.get("content"));
        if edu_type == "m.presence" {
            present.entry(destination).or_default().extend(queued.parse::<i64>());
        } else if let Some(content) = content(db, &edu_type, queued) {
            add(destination, &edu_type, &content);
        }
    }
    for (destination, content) in presence_contents(db, present) {
        add(destination, "m.presence", &content);
    }
    db.query(HEADERS, &[parts.keys().copied().collect::<Vec<i64>>().into()])
        .map(|row| {
            let nid: i64 = row.get("destination_nid");
            let pdus = parts[&nid].event_nids.iter().filter_map(|nid| pdus.get(nid)).cloned();
            let body = object_text(|body| {
                body.array("edus", of_destination.remove(&nid).unwrap_or_default());
                body.value("origin", row.get::<String>("own_server_name"));
                body.value("origin_server_ts", Value::from(row.get::<i64>("txn_created_ts")));
                body.array("pdus", pdus);
            });
            (nid, row.get("server_name"), row.get("txn_id"), body)
        })
        .collect()
}

fn rows(transactions: Vec<TransactionRow>) -> TransactionRows {
    TableIterator::new(transactions)
}

/// The content of one `m.presence` for each destination. `users` are the `user_nid`s by destination.
fn presence_contents(db: &Db<'_>, users: BTreeMap<i64, Vec<i64>>) -> Vec<(i64, String)> {
    if users.is_empty() {
        return Vec::new();
    }
    let pushed = presence::pushed(db, users.values().flatten().copied().collect());
    users
        .into_iter()
        .filter_map(|(destination, users)| {
            let push: Vec<&Value> = users.iter().filter_map(|user| pushed.get(user)).collect();
            (!push.is_empty()).then(|| (destination, to_canonical_lenient(&json!({ "push": push }))))
        })
        .collect()
}

/// The content of an EDU as it is sent. The keys of devices and users are read now, so that the newest are
/// sent. `None` if the EDU is obsolete.
fn content(db: &Db<'_>, edu_type: &str, queued: String) -> Option<String> {
    if !matches!(edu_type, "m.device_list_update" | "m.signing_key_update") {
        return Some(queued);
    }
    let mut content: Value = serde_json::from_str(&queued).ok()?;
    let user_id = content.get("user_id")?.as_str()?.to_owned();
    if edu_type == "m.device_list_update" {
        let device_id = content.get("device_id")?.as_str()?.to_owned();
        match keys::of_device(db, &user_id, &device_id) {
            Some((keys, name)) => {
                content["keys"] = Value::Object(keys);
                if let Some(name) = name {
                    content["device_display_name"] = name.into();
                }
            }
            None => content["deleted"] = true.into(),
        }
    } else {
        for (name, key) in keys::cross_signing_of(db, &user_id) {
            content[name] = key;
        }
    }
    Some(to_canonical_lenient(&content))
}
