//! Client-Server API, "Server Administration".

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/admin/whois/{user_id}", get(whois))
}

const WHOIS: &str = call!("matriarch.whois($1, $2)");

/// `GET /_matrix/client/v3/admin/whois/{userId}`
async fn whois(
    State(app): State<App>,
    token: AccessToken,
    Path(user_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(WHOIS, &[&token.hash(), &user_id]).await
}
