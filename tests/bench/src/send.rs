//! Sends per second: in many rooms and in one.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::json;

use crate::{Bench, Result, client::Client, limit, report};

/// Sends at 1, 8 and 32 senders, each rate beside bare inserts at the same concurrency.
pub async fn rates(bench: &Bench) -> Result<()> {
    for senders in [1, 8, 32] {
        let limit = limit::inserts(&bench.database, senders, bench.duration).await?;
        let users = bench.database.users(&bench.client, &format!("send{senders}"), senders).await?;

        let mut rooms = Vec::new();
        for user in &users {
            rooms.push(user.create_room(&json!({ "preset": "public_chat" })).await?);
        }
        let many = rate(&users, &rooms, bench.duration).await?;
        report(
            &format!("send, many rooms, {senders} senders"),
            many,
            "/s",
            Some((limit, "bare inserts, aim 0.5")),
        );

        let one = rooms[0].clone();
        for user in &users[1..] {
            user.post(&format!("join/{one}"), &json!({})).await?;
        }
        let one = rate(&users, &vec![one; senders], bench.duration).await?;
        report(
            &format!("send, one room, {senders} senders"),
            one,
            "/s",
            Some((limit, "bare inserts, aim 1")),
        );
    }
    Ok(())
}

/// Sends per second of users that each send one after the other.
async fn rate(users: &[Client], rooms: &[String], duration: Duration) -> Result<f64> {
    let started = Instant::now();
    let senders = users.iter().zip(rooms).map(|(user, room)| async move {
        let mut count = 0u64;
        while started.elapsed() < duration {
            user.send(room).await?;
            count += 1;
        }
        Ok::<_, crate::Error>(count)
    });
    let total: u64 = try_join_all(senders).await?.iter().sum();
    Ok(total as f64 / started.elapsed().as_secs_f64())
}
