//! Memory of the node, bytes of the database.

use std::fs;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{Bench, Result, report};

/// Resident memory of a process in MB.
fn resident_mb(pid: u32) -> Result<f64> {
    memory_mb(pid, "VmRSS:")
}

/// A line of a process's status in MB: `VmRSS:` for all that is resident, `RssAnon:` for what is not shared.
pub fn memory_mb(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such figure")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kilobytes / 1024.0)
}

pub async fn idle_memory(bench: &Bench) -> Result<()> {
    report("memory of an idle node", resident_mb(bench.pid)?, "MB", Some((50.0, "aim below 1")));
    Ok(())
}

pub fn waiting_memory(bench: &Bench, waiting: usize) -> Result<()> {
    let name = format!("memory of a node with {waiting} waiting");
    report(&name, resident_mb(bench.pid)?, "MB", Some((150.0, "aim below 1")));
    Ok(())
}

const EVENT_BYTES: &str = "
    select sum(pg_total_relation_size(name))::bigint
    from unnest(array['matriarch.events', 'matriarch.event_auth_edges']::regclass[]) name";
const STATE_BYTES: &str = "
    select sum(pg_total_relation_size(name))::bigint
    from unnest(array[
        'matriarch.state_nodes', 'matriarch.room_state_keys', 'matriarch.memberships'
    ]::regclass[]) name";
const JSON_BYTES: &str = "
    select avg(octet_length(json))::bigint
    from (select json from matriarch.events order by event_nid desc limit 1000) e";

/// Bytes stored for each message and each state change in a room of 10,000 members.
pub async fn storage(bench: &Bench) -> Result<()> {
    let users = bench.database.users(&bench.client, "size", 10_000).await?;
    let room = users[0].create_room(&json!({ "preset": "public_chat" })).await?;
    let (path, body) = (format!("join/{room}"), json!({}));
    stream::iter(&users[1..])
        .map(|user| user.post(&path, &body))
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;

    const CHANGES: usize = 2_000;
    let before = bench.database.bytes(STATE_BYTES).await?;
    stream::iter(0..CHANGES)
        .map(|index| {
            let (user, path) = (&users[0], format!("rooms/{room}/state/org.example.counter/{}", index % 100));
            async move { user.put(&path, &json!({ "value": index })).await }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let state = (bench.database.bytes(STATE_BYTES).await? - before) / CHANGES as f64;
    report(
        "state bytes per state change, 10,000 members",
        state,
        "B",
        Some((225_000.0, "Synapse's layout, 100,000 members")),
    );

    const MESSAGES: usize = 5_000;
    let before = bench.database.bytes(EVENT_BYTES).await?;
    stream::iter(0..MESSAGES)
        .map(|index| users[index % 100].send(&room))
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    let event = (bench.database.bytes(EVENT_BYTES).await? - before) / MESSAGES as f64;
    let json = bench.database.bytes(JSON_BYTES).await?;
    report("bytes per message, 10,000 members", event, "B", Some((json, "its JSON")));
    let (state, events) =
        (bench.database.bytes(STATE_BYTES).await?, bench.database.bytes(EVENT_BYTES).await?);
    report("state of all these rooms", state / 1e6, "MB", Some((events / 1e6, "their events")));
    Ok(())
}
