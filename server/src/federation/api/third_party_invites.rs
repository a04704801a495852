//! Turns third-party invites into invites of users. Server-Server API, "Third-party invites".

use axum::Router;
use axum::extract::State;
use axum::routing::put;
use futures_util::future::join_all;
use matriarch_rules::identifiers::server_name;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::info;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::MatrixResponse;
use crate::federation::third_party_invites::{self, accept};
use crate::http::{JsonBody, Network, Path};

/// The most invites of one address in a request.
const MAX_INVITES: usize = 50;

/// The routes of this module. The Identity Service API says POST where the Server-Server API says PUT.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v1/3pid/onbind", put(on_bind).post(on_bind))
        .route("/_matrix/federation/v1/exchange_third_party_invite/{room_id}", put(exchange))
}

#[derive(Deserialize)]
struct Binding {
    mxid: String,
    invites: Vec<Map<String, Value>>,
}

/// `PUT /_matrix/federation/v1/3pid/onbind`: an identity server reports the user of a third-party id.
///
/// Needs no authentication: the proof is the identity server's signature, by keys in the room's state.
async fn on_bind(
    State(app): State<App>,
    network: Network,
    JsonBody(Binding { mxid, invites }): JsonBody<Binding>,
) -> Result<MatrixResponse, ApiError> {
    app.rates.unsigned_federation(network.0)?;
    if invites.len() > MAX_INVITES {
        return Err(ApiError::invalid_param("There are too many invites"));
    }
    if server_name(&mxid) != Some(&app.config.server_name) {
        return Err(ApiError::invalid_param("The user is not of this server"));
    }
    let taken = join_all(invites.iter().map(|invite| accept(&app.federation, &mxid, invite))).await;
    for error in taken.into_iter().filter_map(Result::err) {
        // The other invites are not affected.
        info!(user = mxid, %error, "a third-party invite was not accepted");
    }
    Ok(MatrixResponse::of(json!({})))
}

/// `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`: a user of the requesting server has the
/// third-party id that a local user invited.
async fn exchange(
    State(app): State<App>,
    Path(room_id): Path<String>,
    ServerRequest { origin, content }: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let content = content.object();
    let target = content.get("state_key").and_then(Value::as_str).unwrap_or_default().to_owned();
    let event = Value::Object(content).to_string();
    third_party_invites::exchange(&app.federation, &origin, &room_id, &target, &event).await
}
