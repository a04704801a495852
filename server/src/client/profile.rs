//! Client-Server API, "Profiles".

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use matriarch_rules::identifiers::is_user_id;
use serde_json::Value;
use tokio::time::timeout;
use tracing::Instrument;

use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, Outcome, call};
use crate::federation::{profiles, queries};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};

/// How long a change of a profile waits until all rooms show it.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    let field = || get(profile_field).put(set_profile_field).delete(delete_profile_field);
    Router::new()
        .client_v3("/profile/{user_id}", get(profile))
        .client_v3("/profile/{user_id}/{key}", field())
        // From before custom fields were stable.
        .client_unstable("/uk.tcpip.msc4133/profile/{user_id}", get(profile))
        .client_unstable("/uk.tcpip.msc4133/profile/{user_id}/{key}", field())
}

const PROFILE: &str = call!("matriarch.profile($1, $2)");

const SET: &str = call!("matriarch.set_profile_field($1, $2, $3, $4)");

const DELETE: &str = call!("matriarch.delete_profile_field($1, $2, $3)");

/// `GET /_matrix/client/v3/profile/{userId}`
async fn profile(
    State(app): State<App>,
    token: Option<AccessToken>,
    Path(user_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    read(&app, token, &user_id, None).await
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
async fn profile_field(
    State(app): State<App>,
    token: Option<AccessToken>,
    Path((user_id, key)): Path<(String, String)>,
) -> Result<MatrixResponse, ApiError> {
    read(&app, token, &user_id, Some(&key)).await
}

/// Asks the servers of remote users, for authenticated users only.
async fn read(
    app: &App,
    token: Option<AccessToken>,
    user_id: &str,
    key: Option<&str>,
) -> Result<MatrixResponse, ApiError> {
    if is_user_id(user_id) && app.federation.is_elsewhere(user_id) {
        Session::of(&app.db, &token.ok_or_else(ApiError::missing_token)?).await?;
        let profile = queries::remote_profile(&app.federation, user_id, key).await?;
        return Ok(MatrixResponse::of(Value::Object(profile)));
    }
    app.call(PROFILE, &[&user_id, &key]).await
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
async fn set_profile_field(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, key)): Path<(String, String)>,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    let changed = app.call(SET, &[&token.hash(), &user_id, &key, &body]).await?;
    Ok(shown(&app, changed).await)
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
async fn delete_profile_field(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, key)): Path<(String, String)>,
) -> Result<MatrixResponse, ApiError> {
    let changed = app.call(DELETE, &[&token.hash(), &user_id, &key]).await?;
    Ok(shown(&app, changed).await)
}

/// Has the rooms show the profile that was changed, if it is the node that must. Usually the client sees it
/// in all rooms at once, but it does not wait for thousands.
async fn shown(app: &App, changed: MatrixResponse) -> MatrixResponse {
    if changed.outcome == Some(Outcome::Unfinished) {
        let federation = app.federation.clone();
        let show = tokio::spawn(async move { profiles::show_all(&federation).await }.in_current_span());
        drop(timeout(SHOWN_TIMEOUT, show).await);
    }
    MatrixResponse { outcome: changed.outcome.filter(|outcome| *outcome != Outcome::Unfinished), ..changed }
}
