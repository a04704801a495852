//! Combines events that are sent at the same time, also to several rooms, into one statement.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tracing::error;

use super::batcher::{Batcher, Group};
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::database::{Db, MatrixResponse, call};
use crate::hub::Hub;

/// The batcher of sends. Its keys are shards of rooms.
pub type Sends = Batcher<u64, Arc<Send>, Answer>;

/// The number of shards, and so of batches at the same time. All sends to a room share a shard, so that they
/// do not wait for each other's room lock. Fewer shards make bigger batches; more shards use more CPUs of the
/// database.
const SHARDS: u64 = 4;

type Answer = Result<MatrixResponse, ApiError>;

/// An event to send.
#[derive(Clone, Debug)]
pub struct Send {
    pub room_id: String,
    pub token: AccessToken,
    pub event_type: String,
    pub state_key: Option<String>,
    pub txn_id: Option<String>,
    pub content: String,
    pub redacts: Option<String>,
}

impl Send {
    /// The shard of the event's room.
    pub fn shard(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.room_id.hash(&mut hasher);
        hasher.finish() % SHARDS
    }

    /// Sends to one room wait for its lock, and take the longer the more of its state they need.
    pub fn group(&self) -> Group {
        Group::of(&self.room_id)
    }
}

/// The most events in one statement: each waits for all of them.
const MAX_BATCH: usize = 50;

const SEND: &str = call!("matriarch.send($1, $2, $3, $4, $5, $6, $7)");

/// A batcher without requests, for the endpoints that send one event.
pub fn batcher(db: Db, hub: Hub) -> Sends {
    Batcher::new("send", MAX_BATCH, move |_shard: u64, sends: Vec<Arc<Send>>| {
        let (db, hub) = (db.clone(), hub.clone());
        async move { send_all(&db, &hub, &sends).await }
    })
}

async fn send_all(db: &Db, hub: &Hub, sends: &[Arc<Send>]) -> Vec<Answer> {
    match send_together(db, hub, sends).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        // If a statement fails, for example by a value too long for an index, send each event by itself, so
        // that the other events do not fail.
        Err(refusal) if refusal.retry_after.is_none() && sends.len() > 1 => {
            let mut answers = Vec::with_capacity(sends.len());
            for send in sends {
                let answer = send_together(db, hub, std::slice::from_ref(send)).await;
                answers.push(
                    answer.and_then(|answers| answers.into_iter().next().ok_or_else(ApiError::internal)),
                );
            }
            answers
        }
        Err(refusal) => vec![Err(refusal); sends.len()],
    }
}

/// Sends all events in one statement, which succeeds or fails as a whole.
async fn send_together(db: &Db, hub: &Hub, sends: &[Arc<Send>]) -> Result<Vec<MatrixResponse>, ApiError> {
    let room_ids: Vec<&str> = sends.iter().map(|send| send.room_id.as_str()).collect();
    let token_hashes: Vec<&[u8]> = sends.iter().map(|send| send.token.hash()).collect();
    let types: Vec<&str> = sends.iter().map(|send| send.event_type.as_str()).collect();
    let state_keys: Vec<Option<&str>> = sends.iter().map(|send| send.state_key.as_deref()).collect();
    let txn_ids: Vec<Option<&str>> = sends.iter().map(|send| send.txn_id.as_deref()).collect();
    let contents: Vec<&str> = sends.iter().map(|send| send.content.as_str()).collect();
    let redacts: Vec<Option<&str>> = sends.iter().map(|send| send.redacts.as_deref()).collect();
    let rows = db
        .query(SEND, &[&room_ids, &token_hashes, &types, &state_keys, &txn_ids, &contents, &redacts])
        .await?;
    if rows.len() != sends.len() {
        error!(asked = sends.len(), answered = rows.len(), "sends were not all answered");
        return Err(ApiError::internal());
    }
    let answers = rows.iter().map(MatrixResponse::from_row).collect::<Result<Vec<_>, _>>()?;
    let mut rooms: Vec<i64> = answers.iter().flat_map(|answer| answer.wake_rooms.iter().copied()).collect();
    rooms.sort_unstable();
    rooms.dedup();
    let users: Vec<i64> = answers.iter().flat_map(|answer| answer.wake_users.iter().copied()).collect();
    hub.wake(&rooms, &users);
    Ok(answers)
}
