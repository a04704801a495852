//! Reading a room's history, and filling a room.

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{Bench, Result, report};

/// Back through 5,000 messages in pages of 100.
pub async fn messages(bench: &Bench) -> Result<()> {
    let user = &bench.database.users(&bench.client, "messages", 1).await?[0];
    let room = user.create_room(&json!({ "preset": "private_chat" })).await?;
    stream::iter(0..5_000).map(|_| user.send(&room)).buffer_unordered(32).try_collect::<()>().await?;
    let (mut from, mut pages, mut events) = (String::new(), 0, 0);
    let started = Instant::now();
    loop {
        let answer = user.get(&format!("rooms/{room}/messages?dir=b&limit=100{from}")).await?;
        events += answer["chunk"].as_array().map_or(0, Vec::len);
        pages += 1;
        match answer["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => break,
        }
    }
    let rate = f64::from(pages) / started.elapsed().as_secs_f64();
    report(
        &format!("/messages, pages of 100 ({events} events)"),
        rate,
        "/s",
        Some((48.0, "Synapse 1.163, on another run")),
    );
    Ok(())
}

/// 1,000 users join one room, eight at a time.
pub async fn join(bench: &Bench) -> Result<()> {
    let users = bench.database.users(&bench.client, "join", 1_001).await?;
    let room = users[0].create_room(&json!({ "preset": "public_chat" })).await?;
    let started = Instant::now();
    let (path, body) = (format!("join/{room}"), json!({}));
    stream::iter(&users[1..])
        .map(|user| user.post(&path, &body))
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let rate = 1_000.0 / started.elapsed().as_secs_f64();
    report("join, 1,000 users, 8 at a time", rate, "/s", Some((17.0, "Synapse 1.163, on another run")));
    Ok(())
}
