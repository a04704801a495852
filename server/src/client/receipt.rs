//! Client-Server API, "Receipts".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Map, Value};
use tokio_postgres::types::ToSql;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBodyOrEmpty, Path};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/rooms/{room_id}/receipt/{receipt_type}/{event_id}", post(send_receipt))
}

/// Receipt types and event ids are arrays of the same length; the thread is NULL for unthreaded receipts.
pub const SET_RECEIPTS: &str = call!("matriarch.set_receipts($1, $2, $3, $4, $5)");

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
async fn send_receipt(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, receipt_type, event_id)): Path<(String, String, String)>,
    JsonBodyOrEmpty(body): JsonBodyOrEmpty<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let thread_id = match body.get("thread_id") {
        None => None,
        Some(Value::String(thread_id)) if !thread_id.contains('\0') => Some(thread_id),
        Some(_) => return Err(ApiError::invalid_param("`thread_id` must be a string")),
    };
    let args: [&(dyn ToSql + Sync); 5] =
        [&token.hash(), &room_id, &vec![receipt_type], &vec![event_id], &thread_id];
    let response = app.call(SET_RECEIPTS, &args).await?;
    if response.status == StatusCode::OK {
        app.presence.is_active(token);
    }
    Ok(response)
}
