//! Client-Server API, "Filtering".

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::{Map, Value};

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/user/{user_id}/filter", post(create_filter))
        .client_v3("/user/{user_id}/filter/{filter_id}", get(filter))
}

const CREATE: &str = call!("matriarch.create_filter($1, $2, $3)");

const GET: &str = call!("matriarch.filter($1, $2, $3)");

/// `POST /_matrix/client/v3/user/{userId}/filter`
///
/// Sorts keys and drops white space, so that equal filters have equal texts.
async fn create_filter(
    State(app): State<App>,
    token: AccessToken,
    Path(user_id): Path<String>,
    JsonBody(filter): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    app.call(CREATE, &[&token.hash(), &user_id, &Value::Object(filter).to_string()]).await
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
async fn filter(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, filter_id)): Path<(String, String)>,
) -> Result<MatrixResponse, ApiError> {
    app.call(GET, &[&token.hash(), &user_id, &filter_id]).await
}
