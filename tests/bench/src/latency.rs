//! From a send to the syncs that wait for it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::{Bench, Result, client::Client, median_ms, report, size};

/// Waits for a sync with news and says when it came, and where the next one begins.
async fn wait(user: &Client, since: &str) -> Result<(Instant, String)> {
    let answer = user.get(&format!("sync?timeout=30000&since={since}")).await?;
    Ok((Instant::now(), answer["next_batch"].as_str().ok_or("no next_batch")?.to_owned()))
}

/// A message in a room of two on an idle machine.
pub async fn delivery(bench: &Bench) -> Result<()> {
    let mut samples = rounds(bench, "delivery", 1, 50).await?;
    report("delivery to a waiting sync, median", median_ms(&mut samples), "ms", Some((10.0, "aim below 1")));
    Ok(())
}

/// A message in a room of 500 who all wait.
pub async fn fan_out(bench: &Bench) -> Result<()> {
    let mut samples = rounds(bench, "fanout", 500, 5).await?;
    report("delivery to each of 500 waiting, median", median_ms(&mut samples), "ms", None);
    let last = samples.last().map_or(f64::NAN, |sample| sample.as_secs_f64() * 1000.0);
    report("delivery to the last of 500 waiting", last, "ms", None);
    Ok(())
}

/// The times of all deliveries of some messages to some waiting users.
async fn rounds(bench: &Bench, name: &str, waiting: usize, messages: usize) -> Result<Vec<Duration>> {
    let users = bench.database.users(&bench.client, name, waiting + 1).await?;
    let room = users[0].create_room(&json!({ "preset": "public_chat" })).await?;
    for user in &users[1..] {
        user.post(&format!("join/{room}"), &json!({})).await?;
    }
    let mut tokens = try_join_all(users[1..].iter().map(Client::sync_token)).await?;
    let mut samples = Vec::new();
    for round in 0..messages {
        let waits: Vec<_> = users[1..]
            .iter()
            .zip(&tokens)
            .map(|(user, since)| {
                let (user, since) = (user.clone(), since.clone());
                tokio::spawn(async move { wait(&user, &since).await })
            })
            .collect();
        sleep(Duration::from_millis(if waiting > 1 { 1500 } else { 60 })).await;
        if waiting > 1 && round == 0 {
            size::waiting_memory(bench, waiting)?;
        }
        let sent = Instant::now();
        users[0].send(&room).await?;
        tokens.clear();
        for wait in waits {
            let (arrived, next) = wait.await??;
            samples.push(arrived.saturating_duration_since(sent));
            tokens.push(next);
        }
    }
    Ok(samples)
}
