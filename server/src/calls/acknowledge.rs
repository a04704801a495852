//! Deletes acknowledged send-to-device messages, for many devices in one statement.

use tokio_postgres::types::ToSql;
use tracing::Instrument;

use super::batcher::{Batcher, Group};
use crate::database::Db;

const ACKNOWLEDGE: &str = "select matriarch.acknowledge_to_device($1, $2)";

/// The most acknowledgements in one statement.
const MAX_BATCH: usize = 250;

/// A device has used a sync token, and so acknowledges the messages that came with it.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    pub device_nid: i64,
    /// The sync token.
    pub since: String,
}

/// The batcher of acknowledgements. Cheap to clone.
#[derive(Clone)]
pub struct Acknowledgements(Batcher<(), Acknowledgement, ()>);

impl Acknowledgements {
    /// A batcher without requests.
    pub fn new(db: Db) -> Self {
        Self(Batcher::new("acknowledge", MAX_BATCH, move |(), acknowledgements: Vec<Acknowledgement>| {
            let db = db.clone();
            async move {
                let device_nids: Vec<i64> = acknowledgements.iter().map(|each| each.device_nid).collect();
                let tokens: Vec<&str> = acknowledgements.iter().map(|each| each.since.as_str()).collect();
                let params: [&(dyn ToSql + Sync); 2] = [&device_nids, &tokens];
                // `Db` logs a failure, which is harmless: the device's next sync acknowledges the messages
                // again.
                let _logged = db.query(ACKNOWLEDGE, &params).await;
                vec![(); acknowledgements.len()]
            }
        }))
    }

    /// Deletes the acknowledged messages in the background.
    pub fn submit(&self, acknowledgement: Acknowledgement) {
        let batcher = self.0.clone();
        let submit = async move {
            let _lost = batcher.submit((), Group::of(()), acknowledgement).await;
        };
        tokio::spawn(submit.in_current_span());
    }
}
