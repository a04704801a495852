//! Dehydrated devices. MSC3814.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, Query, RawJsonBody, RawJsonBodyOrEmpty};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    let device = put(set_device).get(device).delete(delete_device);
    Router::new().client_unstable("/org.matrix.msc3814.v1/dehydrated_device", device).client_unstable(
        "/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events",
        get(events).post(post_events),
    )
}

const SET: &str = call!("matriarch.set_dehydrated_device($1, $2)");

const GET: &str = call!("matriarch.dehydrated_device($1)");

const DELETE: &str = call!("matriarch.delete_dehydrated_device($1)");

const EVENTS: &str = call!("matriarch.dehydrated_device_events($1, $2, $3)");

const POST_EVENTS: &str = call!("matriarch.post_dehydrated_device_events($1, $2, $3)");

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
async fn set_device(
    State(app): State<App>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET, &[&token.hash(), &body]).await
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
async fn device(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(GET, &[&token.hash()]).await
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
async fn delete_device(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE, &[&token.hash()]).await
}

#[derive(Deserialize)]
struct Place {
    from: Option<String>,
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`
async fn events(
    State(app): State<App>,
    token: AccessToken,
    Path(device_id): Path<String>,
    Query(Place { from }): Query<Place>,
) -> Result<MatrixResponse, ApiError> {
    app.call(EVENTS, &[&token.hash(), &device_id, &from]).await
}

/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`
async fn post_events(
    State(app): State<App>,
    token: AccessToken,
    Path(device_id): Path<String>,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Result<MatrixResponse, ApiError> {
    app.call(POST_EVENTS, &[&token.hash(), &device_id, &body]).await
}
