//! What the loop needs of this server and of others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use matriarch_rules::RoomVersion;
use matriarch_wire::{GivenUp, Reports};
use serde_json::{Map, Value};

use super::batch::Kind;
use crate::base::error::ApiError;
use crate::federation::http_client::{FederationError, Request};

/// Bytes in a mebibyte.
pub const MEBIBYTE: usize = 1024 * 1024;

/// A part of a batch, as the database is to take it in.
pub struct Part<'p> {
    pub room_id: &'p str,
    pub version: &'static RoomVersion,
    pub kind: Kind,
    pub texts: Vec<&'p str>,
    /// The states before events that are known from elsewhere, as event ids by the event's id.
    pub states: BTreeMap<&'p str, &'p Vec<String>>,
    /// What is done without.
    pub given_up: &'p GivenUp,
}

/// The end of a room's graph, and where this server's part of it begins.
#[derive(Debug, Default)]
pub struct Ends {
    pub forward_extremities: Vec<String>,
    pub first_depth: i64,
}

/// The database, and other servers. Tests put others in their place.
///
/// All methods of the database fail with 503 if it is away.
pub trait Surroundings: Sync {
    /// Has the database judge events and store them.
    fn receive(&self, part: Part<'_>) -> impl Future<Output = Result<Reports, ApiError>> + Send;

    /// Those of the events that are not stored.
    fn unknown(&self, event_ids: &[&str]) -> impl Future<Output = Result<BTreeSet<String>, ApiError>> + Send;

    /// Those of the events that are staged, each with the server that sent it.
    fn staged(
        &self,
        room_id: &str,
        event_ids: &[&str],
    ) -> impl Future<Output = Result<Vec<(String, String)>, ApiError>> + Send;

    fn ends(&self, room_id: &str) -> impl Future<Output = Result<Ends, ApiError>> + Send;

    /// At most `limit` servers in the room, but for one.
    fn servers(
        &self,
        room_id: &str,
        beside: &str,
        limit: i32,
    ) -> impl Future<Output = Result<Vec<String>, ApiError>> + Send;

    /// How long other servers may take to answer.
    fn timeout(&self) -> Duration;

    /// Asks another server, and reads its answer. `None` if too many long answers are awaited.
    fn ask<T: Send>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(Map<String, Value>) -> T + Send,
    ) -> impl Future<Output = Option<Result<T, FederationError>>> + Send;

    /// Fetches a server's signing keys into the database, or says why it cannot.
    fn fetch_keys(&self, server: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// Has a policy server sign an event.
    fn sign(
        &self,
        server: &str,
        event: &mut Map<String, Value>,
    ) -> impl Future<Output = Result<(), FederationError>> + Send;

    /// Has another server give the state before an event whole, and takes it in. The ids of its events.
    ///
    /// Boxed, as it comes to the loop in turn: for outliers, which need no state.
    fn download_state<'a>(
        &'a self,
        room_id: &'a str,
        version: &'static RoomVersion,
        request: Request<'a>,
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, FederationError>>;
}
