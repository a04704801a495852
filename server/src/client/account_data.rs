//! Client-Server API, "Client Config" (account data).

use axum::Router;
use axum::extract::State;
use axum::routing::put;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/user/{user_id}/account_data/{type}", put(set_account_data).get(account_data))
        .client_v3(
            "/user/{user_id}/rooms/{room_id}/account_data/{type}",
            put(set_room_account_data).get(room_account_data),
        )
}

const SET: &str = call!("matriarch.set_account_data($1, $2, $3, $4, $5)");

const GET: &str = call!("matriarch.account_data($1, $2, $3, $4)");

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
async fn set_account_data(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, data_type)): Path<(String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET, &[&token.hash(), &user_id, &None::<String>, &data_type, &content]).await
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
async fn account_data(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, data_type)): Path<(String, String)>,
) -> Result<MatrixResponse, ApiError> {
    app.call(GET, &[&token.hash(), &user_id, &None::<String>, &data_type]).await
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn set_room_account_data(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, room_id, data_type)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET, &[&token.hash(), &user_id, &room_id, &data_type, &content]).await
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn room_account_data(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, room_id, data_type)): Path<(String, String, String)>,
) -> Result<MatrixResponse, ApiError> {
    app.call(GET, &[&token.hash(), &user_id, &room_id, &data_type]).await
}
