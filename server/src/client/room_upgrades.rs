//! Client-Server API, "Room Upgrades".

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use matriarch_wire::Unsigned;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, Outcome, call};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/rooms/{room_id}/upgrade", post(upgrade))
}

const UPGRADE: &str = call!("matriarch.upgrade_room($1, $2, $3, $4, $5, $6)");

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
async fn upgrade(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    let (hash, unsigned) = (token.hash(), (None::<String>, None::<i64>));
    let (federation, available) = (&app.federation, app.config.room_versions.available());
    let answer = federation
        .call_when_whole(UPGRADE, &[&hash, &room_id, &body, &available, &unsigned.0, &unsigned.1])
        .await?;
    if answer.outcome != Some(Outcome::SignFirst) {
        return federation.sign(answer).await;
    }
    // If the tombstone must be signed first, the new room is created together with it afterwards.
    let unsigned: Unsigned = answer.read()?;
    let tombstone = federation.signed_event(&unsigned).await?;
    app.call(UPGRADE, &[&hash, &room_id, &body, &available, &tombstone, &unsigned.created_at]).await
}
