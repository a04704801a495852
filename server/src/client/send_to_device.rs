//! Client-Server API, "Send-to-Device messaging".

use axum::Router;
use axum::extract::State;
use axum::routing::put;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/sendToDevice/{event_type}/{txn_id}", put(send_to_device))
}

const SEND: &str = call!("matriarch.send_to_device($1, $2, $3, $4)");

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
async fn send_to_device(
    State(app): State<App>,
    token: AccessToken,
    Path((event_type, txn_id)): Path<(String, String)>,
    RawJsonBody(request): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SEND, &[&token.hash(), &event_type, &txn_id, &request]).await
}
