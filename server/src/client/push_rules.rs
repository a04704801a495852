//! Client-Server API, "Push Rules API": reading the predefined rules.

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes};

/// The endpoints of this file. Older clients omit the final slash.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/pushrules/", get(push_rules))
        .client_v3("/pushrules", get(push_rules))
        .client_v3("/pushrules/global/", get(push_rules_global))
        .client_v3("/pushrules/global", get(push_rules_global))
}

const PUSH_RULES: &str = call!("matriarch.push_rules($1)");

const PUSH_RULES_GLOBAL: &str = call!("matriarch.push_rules_global($1)");

/// `GET /_matrix/client/v3/pushrules/`
async fn push_rules(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(PUSH_RULES, &[&token.hash()]).await
}

/// `GET /_matrix/client/v3/pushrules/global/`
async fn push_rules_global(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(PUSH_RULES_GLOBAL, &[&token.hash()]).await
}
