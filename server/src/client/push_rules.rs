//! Push rules: the predefined ones, to read.

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes};
use crate::state::AppState;

/// The endpoints of this file. Older clients leave the last slash away.
pub fn routes() -> Router<AppState> {
    Router::new()
        .client_v3("/pushrules/", get(push_rules))
        .client_v3("/pushrules", get(push_rules))
        .client_v3("/pushrules/global/", get(push_rules_global))
        .client_v3("/pushrules/global", get(push_rules_global))
}

const PUSH_RULES: &str = "select status, body, wake_rooms, wake_users from matriarch.push_rules($1)";

const PUSH_RULES_GLOBAL: &str =
    "select status, body, wake_rooms, wake_users from matriarch.push_rules_global($1)";

/// `GET /_matrix/client/v3/pushrules/`
async fn push_rules(State(app): State<AppState>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(PUSH_RULES, &[&token.hash()]).await
}

/// `GET /_matrix/client/v3/pushrules/global/`
async fn push_rules_global(
    State(app): State<AppState>,
    token: AccessToken,
) -> Result<MatrixResponse, ApiError> {
    app.call(PUSH_RULES_GLOBAL, &[&token.hash()]).await
}
