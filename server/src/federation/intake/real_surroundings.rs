//! The real [`Surroundings`]: the database, and other servers by HTTP.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use matriarch_rules::RoomVersion;
use matriarch_wire::Reports;
use serde_json::{Map, Value};

use super::batch::{Kind, given_up_json, read_answer};
use super::download_state;
use super::surroundings::{Ends, MEBIBYTE, Part, Surroundings};
use crate::base::error::ApiError;
use crate::base::raw_object::RawObject;
use crate::database::call;
use crate::federation::base::Federation;
use crate::federation::http_client::{FederationError, Request};
use crate::federation::state_downloads::Times;

const RECEIVE: &str = call!("matriarch.receive_pdus($1, $2, $3, $4, $5, $6)");
const OTHERS: &str = "select matriarch.servers_to_ask($1, $2, $3)";
const EXTREMITIES: &str = "select forward_extremities, first_depth from matriarch.room_extremities($1)";
/// Events that other servers sent and that are staged.
const STAGED: &str = "
select p.origin, p.json
from matriarch.rooms r
join matriarch.inbound_pdus p using (room_nid)
where r.room_id = $1 and p.event_id = any($2)
limit 100";
const UNKNOWN: &str = "select event_id from matriarch.unknown_events($1) as event_id";

impl Surroundings for Federation {
    async fn receive(&self, part: Part<'_>) -> Result<Reports, ApiError> {
        let Part { room_id, version, kind, texts, states, given_up } = part;
        let states = match states.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&states).map_err(|_| ApiError::internal())?),
        };
        let given_up = given_up_json(given_up)?;
        let turn = match kind {
            Kind::Live | Kind::Relayed => Some(self.turns.take(room_id).await),
            Kind::Backfilled | Kind::Outlier => None,
        };
        let response =
            self.call(RECEIVE, &[&room_id, &version.id, &kind.name(), &texts, &states, &given_up]).await;
        if let Some(turn) = turn {
            turn.end(texts.len());
        }
        read_answer(&response?)
    }

    fn at_once(&self, room_id: &str, most: usize) -> usize {
        self.turns.size(room_id, most)
    }

    async fn unknown(&self, event_ids: &[&str]) -> Result<BTreeSet<String>, ApiError> {
        let rows = self.db.query(UNKNOWN, &[&event_ids]).await?;
        Ok(rows.iter().filter_map(|row| row.try_get("event_id").ok()).collect())
    }

    async fn staged(&self, room_id: &str, event_ids: &[&str]) -> Result<Vec<(String, String)>, ApiError> {
        let rows = self.db.query(STAGED, &[&room_id, &event_ids]).await?;
        Ok(rows.iter().map(|row| (row.get("origin"), row.get("json"))).collect())
    }

    async fn ends(&self, room_id: &str) -> Result<Ends, ApiError> {
        let row = self.db.query_opt(EXTREMITIES, &[&room_id]).await?;
        Ok(row.map_or_else(Ends::default, |row| Ends {
            forward_extremities: row.get::<_, Option<_>>("forward_extremities").unwrap_or_default(),
            first_depth: row.get::<_, Option<_>>("first_depth").unwrap_or_default(),
        }))
    }

    async fn servers(&self, room_id: &str, beside: &str, limit: i32) -> Result<Vec<String>, ApiError> {
        let rows = self.db.query(OTHERS, &[&room_id, &beside, &limit]).await?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }

    fn timeout(&self) -> Duration {
        self.http.timeout()
    }

    async fn ask<T: Send>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(RawObject) -> T + Send,
    ) -> Option<Result<T, FederationError>> {
        // Long answers of hostile servers could fill the memory.
        let size = u32::try_from(request.max_answer / MEBIBYTE).unwrap_or(u32::MAX);
        let _permits = self.await_answer(request.destination, size, request.timeout).await?;
        Some(self.http.send_for_raw(request).await.map(|answer| {
            let (object, _reservation) = answer.into_parts();
            read(object)
        }))
    }

    async fn fetch_keys(&self, server: &str) -> Result<(), String> {
        self.key_ring.fetch(server).await.map_err(|error| error.to_string())
    }

    async fn sign(&self, server: &str, event: &mut Map<String, Value>) -> Result<(), FederationError> {
        self.policy_servers.sign(server, event).await
    }

    fn download_state<'a>(
        &'a self,
        room_id: &'a str,
        version: &'static RoomVersion,
        request: Request<'a>,
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, FederationError>> {
        let times = Times { begin: time, whole: time };
        Box::pin(async move { Ok(download_state(self, room_id, version, request, times).await?.state) })
    }
}
