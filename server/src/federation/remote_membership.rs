//! Local users join, knock on and leave rooms that only remote servers are in. Server-Server API, "Joining
//! Rooms", "Knocking upon a room" and "Leaving Rooms (Rejecting Invites)".
//!
//! A resident server returns a template of the membership event (`make_…`); this server signs the event and
//! sends it back (`send_…`). Servers are asked in turn until one succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use matriarch_rules::canonical_json::to_canonical_lenient;
use matriarch_rules::identifiers::{is_server_name, server_name};
use matriarch_rules::room_version::ALL;
use matriarch_rules::{RoomVersion, room_version};
use matriarch_wire::{SignedMembership, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::info;

use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::intake;
use super::intake::batch::{Batch, Kind, Taken};
use super::leased_work::while_renewed;
use super::partial_joins::{self, PartialJoins};
use super::state_downloads::{ANSWER_TIMEOUT, MAX_ANSWER, StateDownload, Times};
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::{MatrixResponse, call};

/// How many servers are asked.
const MAX_SERVERS: usize = 10;
/// The longest template or other answer without state, in bytes.
const SMALL_ANSWER: usize = 1024 * 1024;
/// How long a join may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1800);
/// A third of the time after which a join of a dead node counts as ended.
const JOIN_RENEWAL: Duration = Duration::from_secs(20);

const SIGN: &str = call!("matriarch.sign_membership($1, $2, $3, $4, $5, $6)");

const SERVERS_IN_ROOM: &str = call!("matriarch.servers_in_room($1, $2)");

const LEAVE_OUT_OF_BAND: &str = call!("matriarch.leave_out_of_band($1, $2, $3, $4)");

const KNOCK_OUT_OF_BAND: &str = call!("matriarch.knock_out_of_band($1, $2, $3, $4, $5)");

/// Marks a join as in progress: federation transactions with events of the room wait. Renewed while the join
/// runs.
const JOIN_BEGINS: &str = "
insert into matriarch.joins_in_progress (room_id, until) values ($1, now() + interval '1 minute')
on conflict (room_id) do update set until = excluded.until";

/// Whether this server has the room's whole current state, because a local user is joined.
const HAS_STATE: &str = "
select
from matriarch.rooms r
join matriarch.memberships m using (room_nid)
join matriarch.accounts a using (user_nid)
where r.room_id = $1 and r.current_root <> 0 and not r.partial and m.membership = 'join'
limit 1";

const JOIN_ENDS: &str = "delete from matriarch.joins_in_progress where room_id = $1";

/// The change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Join,
    Knock,
    Leave,
}

impl Action {
    /// The membership; also the suffix of `make_` and `send_` in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
        }
    }
}

/// A local user whose membership in a remote room changes.
pub struct RemoteMembership<'t> {
    pub federation: &'t Federation,
    pub partial_joins: &'t PartialJoins,
    pub token: AccessToken,
    /// The user's id.
    pub user_id: &'t str,
    /// The client's body.
    pub body: &'t str,
}

/// The answer to `make_join`, `make_knock` and `make_leave`.
#[derive(Deserialize)]
struct Template {
    #[serde(default = "first_version")]
    room_version: String,
    event: Value,
}

fn first_version() -> String {
    "1".to_owned()
}

impl RemoteMembership<'_> {
    /// Rejects an invite or retracts a knock. The local user leaves in any case, even if no other server can
    /// be told.
    ///
    /// # Errors
    ///
    /// 404 `M_NOT_FOUND` if the user has no membership in the room.
    pub async fn leave(&self, room_id: &str) -> Result<MatrixResponse, ApiError> {
        if let Err(error) = self.ask_in_turn(Action::Leave, room_id, Vec::new()).await {
            info!(room_id, error = %error.message, "no server could be told that a user leaves");
            return self.note_leave(room_id, None).await;
        }
        Ok(MatrixResponse::of(json!({})))
    }

    /// Tries servers in turn until one succeeds. `via` are servers that the client or an alias names.
    ///
    /// # Errors
    ///
    /// The refusal that says most about the request, of equal ones the first; 404 `M_NOT_FOUND` if there is
    /// no server to ask. When a server forbids a join or knock, no other is asked.
    pub async fn ask_in_turn(&self, action: Action, room_id: &str, via: Vec<String>) -> Result<(), ApiError> {
        let mut refusal: Option<FederationError> = None;
        for server in self.servers(room_id, via).await? {
            match self.attempt_via(&server, action, room_id).await {
                Ok(()) => return Ok(()),
                Err(FederationError::Internal(error)) => return Err(error),
                Err(error) => {
                    info!(server, room_id, action = action.name(), %error, "a server refused");
                    let is_final = action != Action::Leave && error.forbids();
                    if refusal.as_ref().is_none_or(|first| error.refusal() < first.refusal()) {
                        refusal = Some(error);
                    }
                    if is_final {
                        break;
                    }
                }
            }
        }
        let none_asked = || ApiError::not_found("No server is known that is in the room");
        Err(refusal.map_or_else(none_asked, FederationError::for_client))
    }

    /// Servers to ask, without duplicates: those named, those of known users in the room, and the one in the
    /// room id.
    async fn servers(&self, room_id: &str, via: Vec<String>) -> Result<Vec<String>, ApiError> {
        let federation = self.federation;
        let known = federation.call(SERVERS_IN_ROOM, &[&self.token.hash(), &room_id]).await?;
        let known: Vec<String> = serde_json::from_str(&known.body).unwrap_or_default();
        let named = via.iter().chain(&known).map(String::as_str);
        let mut servers: Vec<String> = Vec::new();
        for server in named.chain(server_name(room_id)) {
            let is_new = !servers.iter().any(|known| known == server);
            if is_new && is_server_name(server) && server != federation.config.server_name {
                servers.push(server.to_owned());
            }
        }
        servers.truncate(MAX_SERVERS);
        Ok(servers)
    }

    /// Gets a template, and signs the event made from it. Returns the room's version and the event.
    async fn make(
        &self,
        server: &str,
        action: Action,
        room_id: &str,
    ) -> Result<(&'static RoomVersion, SignedMembership), FederationError> {
        let federation = self.federation;
        let (room, user) = (encode(room_id), encode(self.user_id));
        let mut path = format!("/_matrix/federation/v1/make_{}/{room}/{user}", action.name());
        if action != Action::Leave {
            let versions: Vec<String> = ALL.iter().map(|version| format!("ver={}", version.id)).collect();
            path += &format!("?{}", versions.join("&"));
        }
        let request = Request {
            method: Method::GET,
            destination: server,
            path: &path,
            body: None,
            max_answer: SMALL_ANSWER,
            timeout: federation.http.timeout(),
        };
        let answer = federation.http.send(request).await?;
        let template: Template = serde_json::from_value(Value::from(answer))
            .map_err(|error| FederationError::bad_answer(server, error.to_string()))?;
        let version = room_version(&template.room_version)
            .ok_or_else(|| FederationError::incompatible_version(server, &template.room_version))?;
        let (membership, event) = (action.name(), template.event.to_string());
        let args: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&self.token.hash(), &room_id, &version.id, &membership, &event, &self.body];
        let MatrixResponse { status, body, .. } = federation.call(SIGN, args).await?;
        if status != StatusCode::OK {
            return Err(FederationError::bad_answer(server, body));
        }
        let signed = serde_json::from_str(&body).map_err(|_| ApiError::internal())?;
        Ok((version, signed))
    }

    async fn attempt_via(&self, server: &str, action: Action, room_id: &str) -> Result<(), FederationError> {
        let (version, signed) = self.make(server, action, room_id).await?;
        let (api_version, max_answer, timeout) = match action {
            Action::Join => ("v2", MAX_ANSWER, ANSWER_TIMEOUT),
            Action::Knock => ("v1", SMALL_ANSWER, self.federation.http.timeout()),
            Action::Leave => ("v2", SMALL_ANSWER, self.federation.http.timeout()),
        };
        let mut path = format!(
            "/_matrix/federation/{api_version}/send_{}/{}/{}",
            action.name(),
            encode(room_id),
            encode(&signed.event_id)
        );
        let federation = self.federation;
        // Not for a room whose state is known: a state without members cannot be combined with it. In a room
        // that is partial already, the join is taken in without a given state.
        if action == Action::Join && federation.db.query_opt(HAS_STATE, &[&room_id]).await?.is_none() {
            path += "?omit_members=true";
        }
        let request = Request {
            method: Method::PUT,
            destination: server,
            path: &path,
            body: Some(&signed.event),
            max_answer,
            timeout,
        };
        match action {
            Action::Join => {
                let join = async {
                    let times = Times { begin: ANSWER_TIMEOUT, whole: JOIN_TIMEOUT };
                    let download =
                        intake::download_state(federation, room_id, version, request, times).await?;
                    self.ingest_send_join(server, room_id, version, &signed, download).await
                };
                self.while_in_progress(room_id, join).await?;
                self.partial_joins.begin(&signed.event_id).await?;
            }
            Action::Knock => {
                let answer = federation.http.send(request).await?;
                self.note_knock(room_id, version.id, &signed, &answer).await?;
            }
            Action::Leave => {
                federation.http.send(request).await?;
                self.note_leave(room_id, Some(&signed)).await?;
            }
        }
        Ok(())
    }

    /// Runs `join` with the room marked as having a join in progress, because other servers may send events
    /// of the room from now on.
    async fn while_in_progress(
        &self,
        room_id: &str,
        join: impl Future<Output = Result<(), FederationError>>,
    ) -> Result<(), FederationError> {
        let db = &self.federation.db;
        db.query(JOIN_BEGINS, &[&room_id]).await?;
        let renew = || async {
            // A failure was logged, and the join continues.
            let _logged = db.query(JOIN_BEGINS, &[&room_id]).await;
            Ok(())
        };
        let joined = while_renewed(JOIN_RENEWAL, renew, join).await;
        // After a failure the mark expires by itself: another user's join may still be in progress.
        if joined.is_ok() {
            db.query(JOIN_ENDS, &[&room_id]).await?;
        }
        joined
    }

    /// Stores the knock as an out-of-band membership, with the stripped state of the answer.
    async fn note_knock(
        &self,
        room_id: &str,
        version: &str,
        signed: &SignedMembership,
        answer: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let state = answer.get("knock_room_state").and_then(Value::as_array).into_iter().flatten();
        let state: Vec<String> = state.map(Value::to_string).collect();
        let event = to_canonical_lenient(&signed.event);
        self.federation
            .call(KNOCK_OUT_OF_BAND, &[&self.token.hash(), &room_id, &version, &event, &state])
            .await?;
        Ok(())
    }

    /// Stores the leave as an out-of-band membership, with its event if another server accepted one.
    async fn note_leave(
        &self,
        room_id: &str,
        signed: Option<&SignedMembership>,
    ) -> Result<MatrixResponse, ApiError> {
        let event_id = signed.map(|signed| signed.event_id.as_str());
        let event = signed.map(|signed| to_canonical_lenient(&signed.event));
        self.federation.call(LEAVE_OUT_OF_BAND, &[&self.token.hash(), &room_id, &event_id, &event]).await
    }

    /// Puts the join event through intake, with the state of the `send_join` answer as its given state.
    async fn ingest_send_join(
        &self,
        server: &str,
        room_id: &str,
        version: &'static RoomVersion,
        signed: &SignedMembership,
        download: StateDownload,
    ) -> Result<(), FederationError> {
        let StateDownload { state, rest } = download;
        if rest.members_omitted {
            let own = self.federation.config.server_name.as_str();
            let servers: BTreeSet<String> = rest
                .servers_in_room
                .into_iter()
                .filter(|server| is_server_name(server) && server != own)
                .chain([server.to_owned()])
                .collect();
            let servers: Vec<String> = servers.into_iter().collect();
            partial_joins::announce(self.federation, &signed.event_id, room_id, server, &servers).await?;
        }
        let event = rest.event.unwrap_or_else(|| to_canonical_lenient(&signed.event));
        let servers = [server.to_owned()];
        let batch = |states| Batch {
            room_id,
            room_version: version.id,
            kind: Kind::Live,
            servers: &servers,
            pdus: vec![event.clone()],
            states,
        };
        let states = BTreeMap::from([(signed.event_id.clone(), state)]);
        let mut taken = intake::take_in(self.federation, batch(states)).await?;
        if rest.members_omitted {
            partial_joins::withdraw(self.federation, &signed.event_id).await?;
            // If another join finished first, this one needs no given state.
            if matches!(taken.first(), Some(Taken { verdict: Err(_), .. })) {
                taken = intake::take_in(self.federation, batch(BTreeMap::new())).await?;
            }
        }
        match taken.first() {
            Some(taken) if taken.verdict == Ok(Verdict::Accepted) => {
                Ok(partial_joins::note_server(self.federation, room_id, server, &signed.event_id).await?)
            }
            Some(taken) => {
                let reason = format!("the join is not allowed by its state: {:?}", taken.verdict);
                Err(FederationError::bad_answer(server, reason))
            }
            None => Err(ApiError::internal().into()),
        }
    }
}
