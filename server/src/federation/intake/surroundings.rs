//! What the intake loop needs from the database and from other servers. Tests replace it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use matriarch_rules::RoomVersion;
use matriarch_wire::{GivenUp, Reports};
use serde_json::{Map, Value};

use super::batch::Kind;
use crate::base::error::ApiError;
use crate::base::raw_object::RawObject;
use crate::federation::http_client::{FederationError, Request};

/// Bytes in a mebibyte.
pub const MEBIBYTE: usize = 1024 * 1024;

/// A part of a batch that the database receives in one statement.
pub struct Part<'p> {
    pub room_id: &'p str,
    pub version: &'static RoomVersion,
    pub kind: Kind,
    pub texts: Vec<&'p str>,
    /// Given states: event ids of the state before an event, by the event's id.
    pub states: BTreeMap<&'p str, &'p Vec<String>>,
    /// What intake does without.
    pub given_up: &'p GivenUp,
}

/// The end of a room's graph, and the depth at which this server's part begins.
#[derive(Debug, Default)]
pub struct Ends {
    pub forward_extremities: Vec<String>,
    pub first_depth: i64,
}

/// The database and other servers.
///
/// Methods that use the database fail with 503 if it is not reachable.
pub trait Surroundings: Sync {
    /// Has the database check and store events.
    fn receive(&self, part: Part<'_>) -> impl Future<Output = Result<Reports, ApiError>> + Send;

    /// How many live events of a room the database may receive in one statement, of at most `most`.
    fn at_once(&self, _room_id: &str, most: usize) -> usize {
        most
    }

    /// The given events that are not stored.
    fn unknown(&self, event_ids: &[&str]) -> impl Future<Output = Result<BTreeSet<String>, ApiError>> + Send;

    /// The given events that are staged, each with its origin.
    fn staged(
        &self,
        room_id: &str,
        event_ids: &[&str],
    ) -> impl Future<Output = Result<Vec<(String, String)>, ApiError>> + Send;

    fn ends(&self, room_id: &str) -> impl Future<Output = Result<Ends, ApiError>> + Send;

    /// At most `limit` servers in the room other than `beside`.
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
        read: impl FnOnce(RawObject) -> T + Send,
    ) -> impl Future<Output = Option<Result<T, FederationError>>> + Send;

    /// Fetches a server's signing keys into the database, or says why it cannot.
    fn fetch_keys(&self, server: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// Has a policy server sign an event.
    fn sign(
        &self,
        server: &str,
        event: &mut Map<String, Value>,
    ) -> impl Future<Output = Result<(), FederationError>> + Send;

    /// Downloads the whole state before an event from another server, and stores it. Returns the ids of its
    /// events.
    ///
    /// Boxed, because it calls the intake loop again for outliers.
    fn download_state<'a>(
        &'a self,
        room_id: &'a str,
        version: &'static RoomVersion,
        request: Request<'a>,
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, FederationError>>;
}
