//! Client-Server API, "API Versions".

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::app::App;
use crate::http::json_response;

/// Whether the server claims to support a release of the specification.
pub fn claims(version: &str) -> bool {
    VERSIONS.contains(&version)
}

/// Supported releases of the specification. Clients rely on this list, so a release is added only when its
/// features are implemented: v1.3 needs relations, v1.6 `timestamp_to_event`, v1.11 media.
const VERSIONS: &[&str] =
    &["r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2"];

/// Implemented features of later releases.
const FEATURES: &[&str] = &[
    // Redactions by the endpoint that sends any event
    "com.beeper.msc4169",
    // Cross-signing: clients do not set it up without this
    "org.matrix.e2e_cross_signing",
    // Private read receipts
    "org.matrix.msc2285.stable",
    // Listing a room's aliases
    "org.matrix.msc2432",
    // The event closest to a time
    "org.matrix.msc3030",
    "org.matrix.msc3030.stable",
    // Threaded receipts, and unread counts of threads
    "org.matrix.msc3771",
    "org.matrix.msc3773",
    // Room types in the room directory
    "org.matrix.msc3827.stable",
    // Dehydrated devices
    "org.matrix.msc3814",
    // `state_after` in sync
    "org.matrix.msc4222",
    // Profile fields of any name
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
];

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().route("/_matrix/client/versions", get(versions))
}

/// `GET /_matrix/client/versions`
async fn versions() -> Response {
    let features: serde_json::Map<_, _> =
        FEATURES.iter().map(|name| ((*name).to_owned(), true.into())).collect();
    json_response(StatusCode::OK, json!({ "versions": VERSIONS, "unstable_features": features }).to_string())
}
