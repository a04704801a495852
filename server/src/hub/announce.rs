//! Wake-ups between nodes, by `LISTEN` and `NOTIFY` on one connection of its own.

use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::{AsyncMessage, Client};
use tracing::{debug, info, warn};

use super::topic::Source;
use super::{Hub, payload};
use crate::database::{Db, Target};

/// The least time between two announcements. The first after a pause goes at once.
const PACE: Duration = Duration::from_millis(5);
const NOTIFY: &str = "select pg_notify('matriarch', $1)";
/// How long to wait before connecting again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Announces this node's wake-ups and hears those of others, until the process ends. Without a connection, other
/// nodes find out by polling, as does this one.
pub async fn run(hub: Hub, target: Target) {
    let node = format!("{:016x}", rand::random::<u64>());
    let mut complained = false;
    loop {
        match session(&hub, &target, &node, &mut complained).await {
            Ok(()) => debug!("the wake-up connection closed"),
            Err(cause) if !complained => {
                warn!(
                    cause = crate::database::db::describe(&cause),
                    "no wake-up connection; polling until there is one"
                );
                complained = true;
            }
            Err(cause) => {
                debug!(cause = crate::database::db::describe(&cause), "still no wake-up connection")
            }
        }
        sleep(RECONNECT).await;
    }
}

/// Announces the wake-ups of a command, which nobody waits for at its own hub. A failure was logged by [`Db`]: those who wait
/// then learn the news when they ask again.
pub async fn announce_once(hub: &Hub, db: &Db) {
    let topics = std::mem::take(&mut *hub.shared.outbox.lock());
    for payload in payload::encode("command", topics) {
        let _logged = db.query(NOTIFY, &[&payload]).await;
    }
}

/// One connection's life.
async fn session(
    hub: &Hub,
    target: &Target,
    node: &str,
    complained: &mut bool,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = target.connect().await?;
    let hear = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message? {
                let (from, topics) = payload::decode(notification.payload());
                if from != node {
                    hub.wake_here(&topics, Source::Notify);
                }
            }
        }
        Ok(())
    };
    let tell = async {
        client.batch_execute("listen matriarch").await?;
        if std::mem::take(complained) {
            info!("the wake-up connection is back");
        }
        // What was announced while there was no connection was missed.
        hub.wake_all_here();
        tell(hub, &client, node).await
    };
    tokio::select! {
        ended = hear => ended,
        ended = tell => ended,
    }
}

/// Sends what fills the outbox, all of it at a time.
async fn tell(hub: &Hub, client: &Client, node: &str) -> Result<(), tokio_postgres::Error> {
    let notify = client.prepare(NOTIFY).await?;
    loop {
        hub.shared.outbox_filled.notified().await;
        let next = Instant::now() + PACE;
        let topics = std::mem::take(&mut *hub.shared.outbox.lock());
        for payload in payload::encode(node, topics) {
            client.execute(&notify, &[&payload]).await?;
        }
        sleep_until(next).await;
    }
}
