//! Sends wake-ups to other nodes by `LISTEN` and `NOTIFY`, on a connection of its own.

use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::{AsyncMessage, Client};
use tracing::{debug, info, warn};

use super::topic::Source;
use super::{Hub, payload};
use crate::database::{Db, Target};

/// The least time between two announcements. The first after a pause is sent at once.
const PACE: Duration = Duration::from_millis(5);
const NOTIFY: &str = "select pg_notify('matriarch', $1)";
/// How long to wait before connecting again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Announces this node's wake-ups and receives those of others, until the process ends. Without a connection,
/// the nodes find news by polling.
pub async fn run(hub: Hub, target: Target, db: Db) {
    let node = format!("{:016x}", rand::random::<u64>());
    let mut complained = false;
    loop {
        match session(&hub, &target, &db, &node, &mut complained).await {
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

/// Announces the wake-ups of a command, whose own hub has no waiters. [`Db`] logs a failure; the nodes then
/// find the news by polling.
pub async fn announce_once(hub: &Hub, db: &Db) {
    let topics = std::mem::take(&mut *hub.shared.outbox.lock());
    for payload in payload::encode("command", topics) {
        let _logged = db.query(NOTIFY, &[&payload]).await;
    }
}

/// Listens and announces on one connection, until it fails.
async fn session(
    hub: &Hub,
    target: &Target,
    db: &Db,
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
        // Announcements during the interruption were missed.
        hub.wake_all_here();
        tell(hub, &client, node).await
    };
    tokio::select! {
        ended = hear => ended,
        ended = tell => ended,
        () = db.host_falls_silent() => Ok(()),
    }
}

/// Sends the outbox whenever it is not empty, all of it at once.
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
