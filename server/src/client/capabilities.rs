//! Client-Server API, "Capabilities negotiation".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Map, json};

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes};

/// Used only to authenticate the user: the answer matters if it is an error.
const AUTHENTICATE: &str = call!("matriarch.whoami($1)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/capabilities", get(capabilities))
}

/// `GET /_matrix/client/v3/capabilities`
async fn capabilities(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    let response = app.call(AUTHENTICATE, &[&token.hash()]).await?;
    if response.status != StatusCode::OK {
        return Ok(response);
    }
    let versions = &app.config.room_versions;
    let available: Map<_, _> =
        versions.available().into_iter().map(|version| (version.to_owned(), "stable".into())).collect();
    let body = json!({ "capabilities": {
        "m.change_password": { "enabled": true },
        "m.room_versions": { "default": versions.default_version(), "available": available },
        "m.profile_fields": { "enabled": true },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.get_login_token": { "enabled": false },
    }});
    Ok(MatrixResponse { body: body.to_string(), ..response })
}
