//! Client-Server API, "Send-to-Device messaging".

use axum::Router;
use axum::extract::State;
use axum::routing::put;
use tokio_postgres::types::ToSql;
use tracing::Instrument;

use crate::batcher::Batcher;
use crate::db::{Db, MatrixResponse};
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/sendToDevice/{event_type}/{txn_id}", put(send_to_device))
}

const SEND: &str =
    "select status, body, wake_rooms, wake_users from matriarch.send_to_device($1, $2, $3, $4)";
const ACKNOWLEDGE: &str = "select matriarch.acknowledge_to_device($1, $2)";

/// How many acknowledgements go into one statement at most.
const MAX_BATCH: usize = 250;

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
async fn send_to_device(
    State(app): State<AppState>,
    token: AccessToken,
    Path((event_type, txn_id)): Path<(String, String)>,
    RawJsonBody(request): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SEND, &[&token.hash(), &event_type, &txn_id, &request]).await
}

/// A device has used a sync token, and so has what came with it.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    pub device_nid: i64,
    /// The sync token.
    pub since: String,
}

/// Acknowledged messages on their way out of the database.
#[derive(Clone)]
pub struct Acknowledgements(Batcher<(), Acknowledgement, ()>);

impl Acknowledgements {
    /// The batcher behind acknowledgements.
    pub fn new(db: Db) -> Self {
        Self(Batcher::new("acknowledge", MAX_BATCH, move |(), acknowledgements: Vec<Acknowledgement>| {
            let db = db.clone();
            async move {
                let device_nids: Vec<i64> = acknowledgements.iter().map(|each| each.device_nid).collect();
                let tokens: Vec<&str> = acknowledgements.iter().map(|each| each.since.as_str()).collect();
                let params: [&(dyn ToSql + Sync); 2] = [&device_nids, &tokens];
                // A failure was logged by `Db`, and is harmless: the device's next sync names the messages again.
                let _logged = db.query(ACKNOWLEDGE, &params).await;
                vec![(); acknowledgements.len()]
            }
        }))
    }

    /// Has the acknowledged messages deleted, some time after the answer.
    pub fn submit(&self, acknowledgement: Acknowledgement) {
        let batcher = self.0.clone();
        let submit = async move {
            let _lost = batcher.submit((), acknowledgement).await;
        };
        tokio::spawn(submit.in_current_span());
    }
}
