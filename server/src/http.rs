//! What all endpoints share: extractors, the layers around handlers, and the registration of routes.
//!
//! # How to add an endpoint
//!
//! 1. Find (or make) the file named after the module of the specification, such as `client/typing.rs`. It
//!    exposes `pub fn routes() -> Router<App>`; a new file is named once in `client.rs`.
//! 2. Write the handler: extract, call one SQL function, answer. The first line of its doc comment is method
//!    and path.
//!    ```ignore
//!    /// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
//!    async fn joined_members(
//!        State(app): State<App>,
//!        token: AccessToken,
//!        Path(room_id): Path<String>,
//!    ) -> Result<MatrixResponse, ApiError> {
//!        app.call(JOINED_MEMBERS, &[&token.hash(), &room_id]).await
//!    }
//!
//!    const JOINED_MEMBERS: &str = call!("matriarch.joined_members($1, $2)");
//!    ```
//! 3. Register it: `Router::new().client_v3("/rooms/{room_id}/joined_members", get(joined_members))`.
//!
//! [`App::call`] runs the statement, retries it if possible, wakes the syncs that the answer names, and turns
//! database errors into Matrix errors. Extractors ([`AccessToken`], [`Path`], [`Query`], [`JsonBody`],
//! [`RawJsonBody`]) refuse bad input with the errors of the specification. Extractors run in the order of the
//! arguments, so the token precedes the body; a body extractor is the last.
//!
//! [`App::call`]: crate::app::App::call

mod access_token;
mod body;
mod connections;
mod context;
mod cors;
mod form;
mod hosts;
mod origin;
mod params;
mod peer;
mod read_body;
mod routes;
mod stalls;
#[cfg(test)]
mod tests;
mod token_use;
mod x_matrix;

pub use crate::base::access_token::{AccessToken, hash_token};
pub use crate::base::json_response::json_response;
pub use body::{JsonBody, JsonBodyOrEmpty, RawJsonBody, RawJsonBodyOrEmpty, from_object};
pub use connections::{Connection, Connections};
pub use hosts::Hosts;
pub use origin::{Origin, unauthorized, wrong_signature};
pub use params::{Path, Query, QueryPairs, Via};
pub use peer::{Network, Peer};
pub use routes::{ClientRoutes, finish};
pub use stalls::Stalls;
