//! Syncs that do not wait.

use std::time::Instant;

use futures_util::future::try_join_all;
use serde_json::json;

use crate::{Bench, Result, median_ms, report};

/// A user in 50 rooms with nothing new, and the rate of eight such.
pub async fn nothing_new(bench: &Bench) -> Result<()> {
    let users = bench.database.users(&bench.client, "nothing", 8).await?;
    for user in &users {
        for _ in 0..50 {
            user.create_room(&json!({ "preset": "private_chat" })).await?;
        }
    }
    let started = Instant::now();
    let duration = bench.duration;
    let workers = users.iter().map(|user| async move {
        let mut since = user.sync_token().await?;
        let mut samples = Vec::new();
        while started.elapsed() < duration {
            let asked = Instant::now();
            let answer = user.get(&format!("sync?timeout=0&since={since}")).await?;
            samples.push(asked.elapsed());
            since = answer["next_batch"].as_str().ok_or("no next_batch")?.to_owned();
        }
        Ok::<_, crate::Error>(samples)
    });
    let mut samples = try_join_all(workers).await?.concat();
    let rate = samples.len() as f64 / started.elapsed().as_secs_f64();
    report(
        "sync, nothing new, 50 rooms, 8 users",
        rate,
        "/s",
        Some((627.0, "Synapse 1.163, on another run")),
    );
    report("sync, nothing new, median of those", median_ms(&mut samples), "ms", None);
    Ok(())
}

/// The first sync of a user in 50 rooms of 20 messages.
pub async fn initial(bench: &Bench) -> Result<()> {
    let user = &bench.database.users(&bench.client, "initial", 1).await?[0];
    for _ in 0..50 {
        let room = user.create_room(&json!({ "preset": "private_chat" })).await?;
        for _ in 0..20 {
            user.send(&room).await?;
        }
    }
    let mut samples = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        let filter = "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A20%7D%7D%7D";
        user.get(&format!("sync?timeout=0&filter={filter}")).await?;
        samples.push(asked.elapsed());
    }
    let median = median_ms(&mut samples);
    report(
        "initial sync, 50 rooms of 20 messages",
        median,
        "ms",
        Some((526.0, "Synapse 1.163, on another run")),
    );
    Ok(())
}
