//! Features that clients usually request and this server lacks: empty answers, so that clients stop asking.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/voip/turnServer", get(turn_server))
        .client_v3("/thirdparty/protocols", get(protocols))
        .client_v3("/pushers", get(pushers))
        .client_v3("/account/3pid", get(third_party_ids))
        .client_v1("/media/config", get(media_config))
        .route("/_matrix/media/v3/config", get(media_config))
        .route("/_matrix/media/r0/config", get(media_config))
}

/// Used only to authenticate the user: the answer matters if it is an error.
const AUTHENTICATE: &str = call!("matriarch.whoami($1)");

/// Authenticates the user, and returns an answer that is the same for all users.
async fn answer(app: &App, token: AccessToken, body: &str) -> Result<MatrixResponse, ApiError> {
    let response = app.call(AUTHENTICATE, &[&token.hash()]).await?;
    Ok(match response.status {
        StatusCode::OK => MatrixResponse { body: body.to_owned(), ..response },
        _ => response,
    })
}

/// `GET /_matrix/client/v3/voip/turnServer`: there is none.
async fn turn_server(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, "{}").await
}

/// `GET /_matrix/client/v1/media/config`: no file is small enough. Clients that get no answer let uploads
/// hang.
async fn media_config(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, r#"{"m.upload.size":0}"#).await
}

/// `GET /_matrix/client/v3/thirdparty/protocols`: there are no bridges.
async fn protocols(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, "{}").await
}

/// `GET /_matrix/client/v3/pushers`: none can be set.
async fn pushers(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, r#"{"pushers":[]}"#).await
}

/// `GET /_matrix/client/v3/account/3pid`: this server stores no e-mail addresses or phone numbers.
async fn third_party_ids(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, r#"{"threepids":[]}"#).await
}
