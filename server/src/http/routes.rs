//! Registration of routes, and the layers around them.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;

use super::token_use::{note_last_seen, record_first_use};
use super::{Hosts, context, cors, hosts, read_body};
use crate::accounts::first_use::FirstUse;
use crate::app::App;
use crate::base::error::ApiError;

/// Registers Client-Server endpoints under the prefixes that clients use.
///
/// A path parameter matches one non-empty segment, which is percent-decoded afterwards (`%2F` stays within
/// its segment). An endpoint whose last parameter may be empty, such as `state_key`, therefore also registers
/// the path without it, with and without the final slash.
pub trait ClientRoutes: Sized {
    /// `path` under `/_matrix/client/v3` and, for older clients, `/_matrix/client/r0`.
    #[must_use]
    fn client_v3(self, path: &str, endpoint: MethodRouter<App>) -> Self;

    /// `path` under `/_matrix/client/v1`.
    #[must_use]
    fn client_v1(self, path: &str, endpoint: MethodRouter<App>) -> Self;

    /// `path` under `/_matrix/client/unstable`, for clients that use it from before it became stable.
    #[must_use]
    fn client_unstable(self, path: &str, endpoint: MethodRouter<App>) -> Self;
}

impl ClientRoutes for Router<App> {
    fn client_v3(self, path: &str, endpoint: MethodRouter<App>) -> Self {
        self.route(&format!("/_matrix/client/v3{path}"), endpoint.clone())
            .route(&format!("/_matrix/client/r0{path}"), endpoint)
    }

    fn client_v1(self, path: &str, endpoint: MethodRouter<App>) -> Self {
        self.route(&format!("/_matrix/client/v1{path}"), endpoint)
    }

    fn client_unstable(self, path: &str, endpoint: MethodRouter<App>) -> Self {
        self.route(&format!("/_matrix/client/unstable{path}"), endpoint)
    }
}

/// Adds the layers and the answers to unknown requests. The last layer is the outermost. `serves_clients`
/// says that the router has the Client-Server API.
pub fn finish(router: Router<App>, app: App, hosts: Hosts, serves_clients: bool) -> Router {
    router
        .fallback(|| async { ApiError::unrecognized() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn_with_state(app.last_seen.clone(), note_last_seen))
        .layer(from_fn_with_state(FirstUse::new(app.db.clone()), record_first_use))
        .layer(from_fn_with_state(app.clone(), read_body::read_body))
        .layer(from_fn_with_state(hosts, hosts::check_host))
        .layer(from_fn_with_state(app.clone(), context::observe))
        .layer(from_fn_with_state(serves_clients, cors::cors))
        .with_state(app)
}
