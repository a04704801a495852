//! Client-Server API, "Refreshing access tokens".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::accounts::tokens::Grant;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::call;
use crate::http::{ClientRoutes, JsonBody, hash_token, json_response};

/// How many times a refresh is tried if concurrent ones use the same token.
const ATTEMPTS: usize = 5;

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/refresh", post(refresh))
        .client_v1("/refresh", post(refresh))
        .client_unstable("/org.matrix.msc2918/refresh", post(refresh))
}

#[derive(Deserialize)]
struct RefreshBody {
    refresh_token: String,
}

/// Finds out why a token is invalid, and ends the session of a replayed one.
const REFUSE: &str = call!("matriarch.refuse_refresh($1)");

/// `POST /_matrix/client/v3/refresh`
///
/// The old pair of tokens stays valid until the new one is used, so that a client may repeat a request whose
/// answer was lost. A later use of the old pair shows that it was stolen, so the session ends.
async fn refresh(
    State(app): State<App>,
    JsonBody(body): JsonBody<RefreshBody>,
) -> Result<Response, ApiError> {
    let presented = hash_token(&body.refresh_token);
    for _ in 0..ATTEMPTS {
        let grant = Grant::refreshed(app.config.tokens.access_lifetime());
        let row = app
            .db
            .query_opt(
                include_str!("../accounts/refresh.sql"),
                &[
                    &presented.as_slice(),
                    &grant.refresh_hash(),
                    &grant.access_hash(),
                    &grant.lifetime_seconds(),
                ],
            )
            .await?
            .ok_or_else(ApiError::internal)?;
        if row.get("refreshed") {
            let mut answer = Map::new();
            grant.write(&mut answer);
            return Ok(json_response(StatusCode::OK, Value::Object(answer).to_string()));
        }
        if !row.get::<_, bool>("known") {
            return Ok(app.call(REFUSE, &[&presented.as_slice()]).await?.into_response());
        }
    }
    Err(ApiError::unavailable())
}
