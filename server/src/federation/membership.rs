//! This server's users join, knock at and leave rooms of other servers. Server-Server API, "Joining Rooms", "Knocking upon
//! a room" and "Leaving Rooms (Rejecting Invites)".
//!
//! A server in the room gives a template of the membership event (`make_…`), this server signs it, and gives it back
//! (`send_…`). Servers are asked one after the other until one helps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use matriarch_rules::identifiers::{is_room_alias, is_server_name, server_name};
use matriarch_rules::{RoomVersion, room_version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::interval;
use tracing::info;

use super::arrival::{self, Arrived};
use super::client::{FederationError, Request};
use super::intake::{self, Batch, Kind, Outcome, Taken};
use super::{partial_joins, queries};
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::AccessToken;
use crate::state::AppState;

/// How many servers are asked.
const MAX_SERVERS: usize = 10;
/// Templates, and answers without state.
const SMALL_ANSWER: usize = 1024 * 1024;
/// How long a join may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1800);
/// A third of what others wait for it, when the node has died.
const JOIN_RENEWAL: Duration = Duration::from_secs(20);

/// What need not be encoded in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SIGN: &str =
    "select status, body, wake_rooms, wake_users from matriarch.sign_membership($1, $2, $3, $4, $5, $6)";

const USERS_IN_ROOM: &str =
    "select status, body, wake_rooms, wake_users from matriarch.users_in_room($1, $2)";

const ALIAS: &str = "select status, body, wake_rooms, wake_users from matriarch.alias($1)";

const LEAVE_OUTSIDE: &str =
    "select status, body, wake_rooms, wake_users from matriarch.leave_out_of_band($1, $2, $3, $4)";

const KNOCK_OUTSIDE: &str =
    "select status, body, wake_rooms, wake_users from matriarch.knock_out_of_band($1, $2, $3, $4, $5)";

/// Who sends events of the room meanwhile has to wait. Renewed as long as the join takes.
const JOIN_BEGINS: &str = "
insert into matriarch.joins_in_progress (room_id, until) values ($1, now() + interval '1 minute')
on conflict (room_id) do update set until = excluded.until";

const IS_KNOWN: &str = "select from matriarch.rooms where room_id = $1 and current_root <> 0";

const JOIN_ENDS: &str = "delete from matriarch.joins_in_progress where room_id = $1";

/// What a user wants of a room elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Join,
    Knock,
    Leave,
}

impl Wish {
    /// The membership, and the part of the paths after `make_` and `send_`.
    fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
        }
    }
}

/// A user on the way.
pub struct Traveller<'t> {
    pub app: &'t AppState,
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

/// The membership event, signed.
#[derive(Deserialize)]
struct Signed {
    event_id: String,
    event: Value,
}

/// A segment of a path.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The room that a room id or alias names, and servers that are in it by what the alias's server says.
pub async fn find_room(app: &AppState, room: &str) -> Result<(String, Vec<String>), ApiError> {
    if !is_room_alias(room) {
        return Ok((room.to_owned(), Vec::new()));
    }
    let found = if app.is_elsewhere(room) {
        queries::remote_alias(app, room).await?
    } else {
        let answer = app.call(ALIAS, &[&room]).await?;
        serde_json::from_str(&answer.body).map_err(|_| ApiError::internal())?
    };
    let room_id = found.get("room_id").and_then(Value::as_str).filter(|room_id| room_id.starts_with('!'));
    let room_id = room_id.ok_or_else(|| ApiError::not_found("The alias names no room"))?;
    let servers = found.get("servers").and_then(Value::as_array).into_iter().flatten();
    let servers = servers.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok((room_id.to_owned(), servers))
}

impl Traveller<'_> {
    /// Joins a room. `via` are servers that the client or an alias names.
    ///
    /// # Errors
    ///
    /// What the last server that answered said; 404 `M_NOT_FOUND` if there is none to ask.
    pub async fn join(&self, room_id: &str, via: Vec<String>) -> Result<(), ApiError> {
        self.ask_in_turn(Wish::Join, room_id, via).await
    }

    /// Knocks at a room. Errors as those of [`join`](Self::join).
    pub async fn knock(&self, room_id: &str, via: Vec<String>) -> Result<(), ApiError> {
        self.ask_in_turn(Wish::Knock, room_id, via).await
    }

    /// Refuses an invite, or takes back a knock: for this server in any case, and for others if one of them can be told.
    ///
    /// # Errors
    ///
    /// 404 `M_NOT_FOUND` if the user is nothing to the room.
    pub async fn leave(&self, room_id: &str) -> Result<MatrixResponse, ApiError> {
        if let Err(error) = self.ask_in_turn(Wish::Leave, room_id, Vec::new()).await {
            info!(room_id, error = %error.message, "no server could be told that a user leaves");
            return self.note_leave(room_id, None).await;
        }
        Ok(MatrixResponse::of(json!({})))
    }

    /// Asks servers for help, one after the other.
    async fn ask_in_turn(&self, wish: Wish, room_id: &str, via: Vec<String>) -> Result<(), ApiError> {
        let mut refusal: Option<ApiError> = None;
        for server in self.servers(room_id, via).await? {
            match self.by(&server, wish, room_id).await {
                Ok(()) => return Ok(()),
                Err(FederationError::Internal(error)) => return Err(error),
                Err(error) => {
                    info!(server, room_id, wish = wish.name(), %error, "a server in a room did not help");
                    // What a server in the room says is worth more than that another one is away.
                    let is_verdict = matches!(error, FederationError::Refused { .. });
                    if is_verdict || refusal.is_none() {
                        refusal = Some(error.for_client());
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| ApiError::not_found("No server is known that is in the room")))
    }

    /// Servers to ask, each once: those named, those of users in the room, and the one that made the room.
    async fn servers(&self, room_id: &str, via: Vec<String>) -> Result<Vec<String>, ApiError> {
        let app = self.app;
        let known = app.call(USERS_IN_ROOM, &[&self.token.hash(), &room_id]).await?;
        let users: Vec<String> = serde_json::from_str(&known.body).unwrap_or_default();
        let of_users = users.iter().filter_map(|user_id| server_name(user_id));
        let mut servers: Vec<String> = Vec::new();
        for server in via.iter().map(String::as_str).chain(of_users).chain(server_name(room_id)) {
            let is_new = !servers.iter().any(|known| known == server);
            if is_new && is_server_name(server) && server != app.config.server_name {
                servers.push(server.to_owned());
            }
        }
        servers.truncate(MAX_SERVERS);
        Ok(servers)
    }

    /// Gets a template, and signs the event made of it. The room's version, and the event.
    async fn make(
        &self,
        server: &str,
        wish: Wish,
        room_id: &str,
    ) -> Result<(&'static RoomVersion, Signed), FederationError> {
        let app = self.app;
        let (room, user) = (encode(room_id), encode(self.user_id));
        let mut path = format!("/_matrix/federation/v1/make_{}/{room}/{user}", wish.name());
        if wish != Wish::Leave {
            let versions: Vec<String> = (1..=12).map(|version| format!("ver={version}")).collect();
            path += &format!("?{}", versions.join("&"));
        }
        let request = Request {
            method: Method::GET,
            destination: server,
            path: &path,
            body: None,
            max_answer: SMALL_ANSWER,
            timeout: app.federation.client.timeout(),
        };
        let answer = app.federation.client.send(&app.db, request).await?;
        let template: Template =
            serde_json::from_value(Value::Object(answer)).map_err(|error| bad(server, &error.to_string()))?;
        let version = room_version(&template.room_version)
            .ok_or_else(|| bad(server, "it names a room version that does not exist"))?;
        let (membership, event) = (wish.name(), template.event.to_string());
        let args: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&self.token.hash(), &room_id, &version.id, &membership, &event, &self.body];
        let MatrixResponse { status, body, .. } = app.call(SIGN, args).await?;
        if status != StatusCode::OK {
            return Err(bad(server, &body));
        }
        let signed = serde_json::from_str(&body).map_err(|_| ApiError::internal())?;
        Ok((version, signed))
    }

    async fn by(&self, server: &str, wish: Wish, room_id: &str) -> Result<(), FederationError> {
        let (version, signed) = self.make(server, wish, room_id).await?;
        let (edition, max_answer, timeout) = match wish {
            Wish::Join => ("v2", arrival::MAX_ANSWER, arrival::ANSWER_TIMEOUT),
            Wish::Knock => ("v1", SMALL_ANSWER, self.app.federation.client.timeout()),
            Wish::Leave => ("v2", SMALL_ANSWER, self.app.federation.client.timeout()),
        };
        let mut path = format!(
            "/_matrix/federation/{edition}/send_{}/{}/{}",
            wish.name(),
            encode(room_id),
            encode(&signed.event_id)
        );
        let app = self.app;
        // Where this server has been before, what it knows and a state without members do not go together.
        if wish == Wish::Join && app.db.query_opt(IS_KNOWN, &[&room_id]).await?.is_none() {
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
        match wish {
            Wish::Join => {
                let join = async {
                    let arrived = arrival::receive(app, room_id, version, request, JOIN_TIMEOUT).await?;
                    self.enter(server, room_id, version, &signed, arrived).await
                };
                self.while_under_way(room_id, join).await?;
                app.federation.partial_joins.begin(app, &signed.event_id).await?;
            }
            Wish::Knock => {
                let answer = app.federation.client.send(&app.db, request).await?;
                self.note_knock(room_id, version.id, &signed, &answer).await?;
            }
            Wish::Leave => {
                app.federation.client.send(&app.db, request).await?;
                self.note_leave(room_id, Some(&signed)).await?;
            }
        }
        Ok(())
    }

    /// Joins, while it is known that this is under way: from here on other servers may send events of the room.
    async fn while_under_way(
        &self,
        room_id: &str,
        join: impl Future<Output = Result<(), FederationError>>,
    ) -> Result<(), FederationError> {
        let db = &self.app.db;
        db.query(JOIN_BEGINS, &[&room_id]).await?;
        let mut renewal = interval(JOIN_RENEWAL);
        renewal.reset();
        tokio::pin!(join);
        let joined = loop {
            tokio::select! {
                joined = &mut join => break joined,
                // Should that fail, it was logged, and the join goes on.
                _ = renewal.tick() => { let _logged = db.query(JOIN_BEGINS, &[&room_id]).await; }
            }
        };
        // What fails may be under way for another user still.
        if joined.is_ok() {
            db.query(JOIN_ENDS, &[&room_id]).await?;
        }
        joined
    }

    /// Notes that the user knocks, with what the server told of the room.
    async fn note_knock(
        &self,
        room_id: &str,
        version: &str,
        signed: &Signed,
        answer: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let state = answer.get("knock_room_state").and_then(Value::as_array).into_iter().flatten();
        let state: Vec<String> = state.map(Value::to_string).collect();
        let event = signed.event.to_string();
        self.app.call(KNOCK_OUTSIDE, &[&self.token.hash(), &room_id, &version, &event, &state]).await?;
        Ok(())
    }

    /// Notes that the user left, by an event that another server took in, if one did.
    async fn note_leave(&self, room_id: &str, signed: Option<&Signed>) -> Result<MatrixResponse, ApiError> {
        let event_id = signed.map(|signed| signed.event_id.as_str());
        let event = signed.map(|signed| signed.event.to_string());
        self.app.call(LEAVE_OUTSIDE, &[&self.token.hash(), &room_id, &event_id, &event]).await
    }

    /// Takes in the join, by the state that came.
    async fn enter(
        &self,
        server: &str,
        room_id: &str,
        version: &'static RoomVersion,
        signed: &Signed,
        arrived: Arrived,
    ) -> Result<(), FederationError> {
        let Arrived { state, rest } = arrived;
        if rest.members_omitted {
            let own = self.app.config.server_name.as_str();
            let servers: BTreeSet<String> = rest
                .servers_in_room
                .into_iter()
                .filter(|server| is_server_name(server) && server != own)
                .chain([server.to_owned()])
                .collect();
            let servers: Vec<String> = servers.into_iter().collect();
            partial_joins::announce(self.app, &signed.event_id, room_id, server, &servers).await?;
        }
        let event = rest.event.as_ref().unwrap_or(&signed.event);
        let servers = [server.to_owned()];
        let batch = |states| Batch {
            room_id,
            room_version: version.id,
            kind: Kind::Live,
            servers: &servers,
            pdus: vec![event.to_string()],
            states,
        };
        let states = BTreeMap::from([(signed.event_id.clone(), state)]);
        let mut taken = intake::take_in(self.app, batch(states)).await?;
        if rest.members_omitted {
            partial_joins::withdraw(self.app, &signed.event_id).await?;
            // Where another join was faster, this one goes the way of all events.
            if matches!(taken.first(), Some(Taken { outcome: Outcome::Unsettled { .. }, .. })) {
                taken = intake::take_in(self.app, batch(BTreeMap::new())).await?;
            }
        }
        match taken.first() {
            Some(taken) if taken.outcome == Outcome::Accepted => {
                Ok(partial_joins::note_server(self.app, room_id, server, &signed.event_id).await?)
            }
            Some(taken) => {
                Err(bad(server, &format!("the join is not allowed by its state: {:?}", taken.outcome)))
            }
            None => Err(ApiError::internal().into()),
        }
    }
}

fn bad(server: &str, reason: &str) -> FederationError {
    FederationError::BadAnswer { server: server.to_owned(), reason: reason.to_owned() }
}

/// The answer to a join or a knock.
pub fn room_answer(room_id: &str) -> MatrixResponse {
    MatrixResponse::of(json!({ "room_id": room_id }))
}
