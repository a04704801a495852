//! Client-Server API, "Fully read markers".

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Map, Value};

use super::receipt::SET_RECEIPTS;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::MatrixResponse;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/rooms/{room_id}/read_markers", post(set_read_marker))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
async fn set_read_marker(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let mut receipt_types = Vec::new();
    let mut event_ids = Vec::new();
    for receipt_type in ["m.fully_read", "m.read", "m.read.private"] {
        match body.get(receipt_type) {
            // Clients send null for markers that they do not set.
            None | Some(Value::Null) => {}
            Some(Value::String(event_id)) if !event_id.contains('\0') => {
                receipt_types.push(receipt_type);
                event_ids.push(event_id);
            }
            Some(_) => return Err(ApiError::bad_json(format!("`{receipt_type}` must be an event id"))),
        }
    }
    let unthreaded = None::<String>;
    app.call(SET_RECEIPTS, &[&token.hash(), &room_id, &receipt_types, &event_ids, &unthreaded]).await
}
