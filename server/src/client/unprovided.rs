//! What clients ask for as a matter of course and this server does not have: honest answers, so that they stop asking.

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
}

/// The function authenticates; its answer is of use only when it refuses.
const AUTHENTICATE: &str = call!("matriarch.whoami($1)");

/// Authenticates, and then gives the answer that is the same for everybody.
async fn answer(app: &App, token: AccessToken, body: &str) -> Result<MatrixResponse, ApiError> {
    let response = app.call(AUTHENTICATE, &[&token.hash()]).await?;
    Ok(match response.status {
        StatusCode::OK => MatrixResponse { body: body.to_owned(), ..response },
        _ => response,
    })
}

/// `GET /_matrix/client/v3/voip/turnServer`: there is none.
async fn turn_server(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    let response = app.call(AUTHENTICATE, &[&token.hash()]).await?;
    if response.status == StatusCode::OK {
        return Err(ApiError::not_found("This server has no TURN server"));
    }
    Ok(response)
}

/// `GET /_matrix/client/v3/thirdparty/protocols`: there is no bridge to any.
async fn protocols(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, "{}").await
}

/// `GET /_matrix/client/v3/pushers`: nobody has one, for none can be set.
async fn pushers(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, r#"{"pushers":[]}"#).await
}

/// `GET /_matrix/client/v3/account/3pid`: nobody has an e-mail address or phone number here.
async fn third_party_ids(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    answer(&app, token, r#"{"threepids":[]}"#).await
}
