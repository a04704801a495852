//! Rooms of other servers: loading them, small forks in them, and what their state costs.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::SinkExt;
use ruma_common::{OwnedEventId, RoomVersionId, room_version_rules::RoomVersionRules};
use ruma_events::StateEventType;
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::json;
use tokio_postgres::Client as Connection;

use crate::{
    Bench, Result, median_ms,
    pdu::Pdu,
    remote::{RemoteRoom, member},
    report,
    size::memory_mb,
};

const SIZES: [usize; 4] = [1_000, 30_000, 100_000, 300_000];
const FORKS: usize = 9;

pub async fn forks(bench: &Bench) -> Result<()> {
    for size in SIZES {
        let mut room = RemoteRoom::new(size)?;
        let connection = bench.database.another().await?;
        room.publish_key(&connection).await?;
        load(&room, &connection, size).await?;
        fork(bench, &mut room, &connection, size).await?;
        state(&room, &connection, size).await?;
        state_bytes(bench, &mut room, &connection, size).await?;
    }
    Ok(())
}

/// Loading the room, beside `copy` of the same bytes.
async fn load(room: &RemoteRoom, connection: &Connection, size: usize) -> Result<()> {
    let started = Instant::now();
    room.load(connection).await?;
    let rate = room.events.len() as f64 / started.elapsed().as_secs_f64();

    connection.batch_execute("create table copied (event_id text, json text)").await?;
    let started = Instant::now();
    let sink = connection.copy_in("copy copied from stdin").await?;
    let mut sink = std::pin::pin!(sink);
    for chunk in room.events.chunks(1000) {
        let lines: String = chunk
            .iter()
            .map(|event| format!("{}\t{}\n", event.event.event_id(), event.json.replace('\\', "\\\\")))
            .collect();
        sink.send(bytes::Bytes::from(lines)).await?;
    }
    sink.close().await?;
    let limit = room.events.len() as f64 / started.elapsed().as_secs_f64();
    connection.batch_execute("drop table copied").await?;
    report(&format!("loading a room of {size} members"), rate, "/s", Some((limit, "copy of the same bytes")));
    let pid: i32 = connection.query_one("select pg_backend_pid()", &[]).await?.get(0);
    let memory = memory_mb(pid.unsigned_abs(), "RssAnon:")?;
    report(&format!("memory of the session that loaded {size}"), memory, "MB", None);
    Ok(())
}

/// Two heads, three state events apart: how long it takes to receive the event that forks the room, with all
/// that follows.
async fn fork(bench: &Bench, room: &mut RemoteRoom, connection: &Connection, size: usize) -> Result<()> {
    let sender = bench.database.users(&bench.client, &format!("fork{size}"), 1).await?.remove(0);
    let elsewhere = sender.create_room(&json!({})).await?;
    let mut quiet = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        sender.send(&elsewhere).await?;
        quiet.push(started.elapsed());
    }

    let (merges, busy) = tokio::join!(receive_forks(room, connection), async {
        let mut samples: Vec<Duration> = Vec::new();
        for _ in 0..100 {
            let started = Instant::now();
            sender.send(&elsewhere).await?;
            samples.push(started.elapsed());
        }
        Ok::<_, crate::Error>(samples)
    });
    let (mut merges, mut busy) = (merges?, busy?);
    let ours = median_ms(&mut merges);
    let by_ruma = resolve_by_ruma(room)?.as_secs_f64() * 1000.0;
    report(
        &format!("a small fork, {size} members, median"),
        ours,
        "ms",
        Some((by_ruma, "ruma-state-res, in memory")),
    );
    let quiet = median_ms(&mut quiet);
    let name = format!("a send elsewhere meanwhile, {size} members");
    report(&name, median_ms(&mut busy), "ms", Some((quiet, "without forks")));
    Ok(())
}

async fn receive_forks(room: &mut RemoteRoom, connection: &Connection) -> Result<Vec<Duration>> {
    let mut samples = Vec::new();
    let (creator, moderator) = (member(0), member(1));
    let mut head = room.events.len() - 1;
    for number in 0..FORKS {
        let topic = json!({ "topic": format!("left {number}") });
        let one = room.event_after(&[head], &creator, "m.room.topic", Some(""), topic)?;
        let name = json!({ "name": format!("left {number}") });
        let two = room.event_after(&[one], &creator, "m.room.name", Some(""), name)?;
        let topic = json!({ "topic": format!("right {number}") });
        let other = room.event_after(&[head], &moderator, "m.room.topic", Some(""), topic)?;
        room.receive(connection, "live", &[one, two], None).await?;
        let started = Instant::now();
        room.receive(connection, "live", &[other], None).await?;
        samples.push(started.elapsed());
        head =
            room.event_after(&[two, other], &creator, "m.room.message", None, json!({ "body": "merged" }))?;
        room.receive(connection, "live", &[head], None).await?;
    }
    Ok(samples)
}

/// The last fork, resolved by `ruma-state-res` with both states and their auth chains in memory.
fn resolve_by_ruma(room: &RemoteRoom) -> Result<Duration> {
    let pdus: HashMap<OwnedEventId, Pdu> =
        room.events.iter().map(|event| Pdu::new(&event.event)).map(|pdu| (pdu.id(), pdu)).collect();
    let id = |place: usize| OwnedEventId::try_from(room.events[place].event.event_id());
    let main = room.state.iter();
    let before: HashMap<(StateEventType, String), OwnedEventId> = main
        .map(|((event_type, state_key), place)| {
            Ok(((event_type.as_str().into(), state_key.clone()), id(*place)?))
        })
        .collect::<Result<_>>()?;
    let newest = room.events.len();
    let with = |changes: &[(&str, usize)]| -> Result<_> {
        let mut state = before.clone();
        for (event_type, place) in changes {
            state.insert(((*event_type).into(), String::new()), id(*place)?);
        }
        Ok(state)
    };
    let left = with(&[("m.room.topic", newest - 4), ("m.room.name", newest - 3)])?;
    let right = with(&[("m.room.topic", newest - 2)])?;
    let rules: RoomVersionRules = RoomVersionId::V12.rules().ok_or("no rules")?;
    let v2 = rules.state_res.v2_rules().ok_or("no state resolution")?;

    let started = Instant::now();
    let places: HashMap<&str, usize> =
        room.events.iter().enumerate().map(|(place, event)| (event.event.event_id(), place)).collect();
    let chain = |state: &HashMap<(StateEventType, String), OwnedEventId>| {
        let mut chain: EventIdSet<OwnedEventId> = EventIdSet::default();
        let mut open: Vec<usize> = state.values().filter_map(|id| places.get(id.as_str()).copied()).collect();
        while let Some(place) = open.pop() {
            for auth in &room.events[place].auth {
                if id(*auth).is_ok_and(|id| chain.insert(id)) {
                    open.push(*auth);
                }
            }
        }
        chain
    };
    let chains = vec![chain(&left), chain(&right)];
    ruma_state_res::resolve(
        &rules.authorization,
        v2,
        &[left, right],
        chains,
        |id| pdus.get(id).cloned(),
        |_| Some(EventIdSet::default()),
    )
    .map_err(|error| error.to_string())?;
    Ok(started.elapsed())
}

const DIFF: &str = "select count(*) from matrix.state_diff($1, $2)";
const ALL: &str = "
    select count(*)
    from matriarch.rooms r cross join lateral matriarch.state_entries(r.current_root)
    where r.room_id = $1";
const ONE: &str = "
    select matriarch.state_get(r.current_root, k.key_idx)
    from matriarch.rooms r join matriarch.room_state_keys k using (room_nid)
    where r.room_id = $1 and k.type = 'm.room.member' and k.state_key = $2";
const EXPLAIN: &str = "select count(*) from matrix.explain_resolution($1)";

/// What reading the state costs.
async fn state(room: &RemoteRoom, connection: &Connection, size: usize) -> Result<()> {
    let newest = room.events.len() - 1;
    let (merge, fork) = (room.events[newest].event.event_id(), room.events[newest - 3].event.event_id());
    let one = member(size / 2);
    macro_rules! time {
        ($name:literal, $sql:expr, $args:expr) => {{
            let statement = connection.prepare($sql).await?;
            let mut samples = Vec::new();
            for _ in 0..12 {
                let started = Instant::now();
                connection.query(&statement, $args).await?;
                samples.push(started.elapsed());
            }
            report(&format!("{}, {size} members", $name), median_ms(&mut samples), "ms", None);
        }};
    }
    time!("one key of the state", ONE, &[&room.room_id, &one]);
    time!("difference of two states", DIFF, &[&fork, &merge]);
    time!("resolution with its auth difference", EXPLAIN, &[&merge]);
    time!("the whole state", ALL, &[&room.room_id]);
    Ok(())
}

const STATE_BYTES: &str = "select pg_total_relation_size('matriarch.state_nodes')";

/// Bytes of the trie for each state change.
async fn state_bytes(
    bench: &Bench,
    room: &mut RemoteRoom,
    connection: &Connection,
    size: usize,
) -> Result<()> {
    const CHANGES: usize = 1_000;
    let mut places = vec![room.events.len() - 1];
    for number in 0..CHANGES {
        let user = member(2 + number * (size - 2) / CHANGES);
        let content = json!({ "membership": "join", "displayname": format!("Renamed {number}") });
        let newest = *places.last().ok_or("no event")?;
        places.push(room.event_after(&[newest], &user, "m.room.member", Some(&user), content)?);
    }
    let before = bench.database.bytes(STATE_BYTES).await?;
    for chunk in places[1..].chunks(50) {
        room.receive(connection, "live", chunk, None).await?;
    }
    let bytes = (bench.database.bytes(STATE_BYTES).await? - before) / CHANGES as f64;
    let name = format!("trie bytes per state change, {size} members");
    report(&name, bytes, "B", Some((225_000.0, "Synapse's layout, 100,000 members")));
    Ok(())
}
