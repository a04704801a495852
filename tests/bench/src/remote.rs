//! A room that another server made: signed events, in the order in which they cite each other.

use std::collections::HashMap;

use matriarch_rules::{
    Event, EventBuilder, KeyPair, Map, RoomVersion, auth_types_for_event, build::EventReference, room_version,
};
use serde_json::{Value, json};
use tokio_postgres::Client as Connection;

use crate::Result;

const SERVER: &str = "remote.example";
const KEY_ID: &str = "ed25519:1";
const CHUNK: usize = 1000;

/// An event and its place among those of the room.
pub struct RemoteEvent {
    pub event: Event,
    pub json: String,
    pub auth: Vec<usize>,
}

/// A room of room version 12.
pub struct RemoteRoom {
    pub version: &'static RoomVersion,
    key: KeyPair,
    pub room_id: String,
    pub events: Vec<RemoteEvent>,
    /// The state after the newest event.
    pub state: HashMap<(String, String), usize>,
}

/// A member of the other server.
pub fn member(number: usize) -> String {
    format!("@member{number}:{SERVER}")
}

impl RemoteRoom {
    /// A public room with so many members.
    pub fn new(members: usize) -> Result<Self> {
        let version = room_version("12").ok_or("no room version 12")?;
        let key = KeyPair::from_seed(KEY_ID, &[7; 32])?;
        let mut room =
            Self { version, key, room_id: String::new(), events: Vec::new(), state: HashMap::new() };
        let creator = member(0);
        let nonce = format!("{:?}", std::time::SystemTime::now());
        room.append(&creator, "m.room.create", Some(""), json!({ "room_version": "12", "nonce": nonce }))?;
        room.room_id = room.events[0].event.event_id().replacen('$', "!", 1);
        room.append(&creator, "m.room.member", Some(&creator), json!({ "membership": "join" }))?;
        room.append(&creator, "m.room.power_levels", Some(""), json!({ "users": { member(1): 50 } }))?;
        room.append(&creator, "m.room.join_rules", Some(""), json!({ "join_rule": "public" }))?;
        for number in 1..members {
            let user = member(number);
            let content = json!({ "membership": "join", "displayname": format!("Member {number}") });
            room.append(&user, "m.room.member", Some(&user), content)?;
        }
        Ok(room)
    }

    /// An event after the newest one; its place.
    pub fn append(
        &mut self,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<usize> {
        let prev: Vec<usize> = self.events.len().checked_sub(1).into_iter().collect();
        let place = self.event_after(&prev, sender, event_type, state_key, content)?;
        if let Some(state_key) = state_key {
            self.state.insert((event_type.to_owned(), state_key.to_owned()), place);
        }
        Ok(place)
    }

    /// An event after some others, authorized by the state after the newest of the main line; its place.
    pub fn event_after(
        &mut self,
        prev: &[usize],
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<usize> {
        let Value::Object(content) = content else { return Err("the content is no object".into()) };
        let content: Map = content;
        let auth: Vec<usize> = auth_types_for_event(self.version, event_type, sender, state_key, &content)
            .into_iter()
            .filter_map(|key| self.state.get(&key).copied())
            .collect();
        let references = |places: &[usize]| -> Vec<EventReference> {
            places.iter().map(|place| EventReference::from(self.events[*place].event.event_id())).collect()
        };
        let built = EventBuilder {
            room_id: (!self.room_id.is_empty()).then(|| self.room_id.clone()),
            sender: sender.to_owned(),
            event_type: event_type.to_owned(),
            state_key: state_key.map(str::to_owned),
            content,
            prev_events: references(prev),
            auth_events: references(&auth),
            depth: prev.iter().map(|place| self.events[*place].event.depth()).max().unwrap_or(0) + 1,
            origin_server_ts: 1_700_000_000_000 + self.events.len() as i64,
            ..EventBuilder::default()
        }
        .build(self.version, &self.key)?;
        self.events.push(RemoteEvent { event: built.event, json: built.canonical_json, auth });
        Ok(self.events.len() - 1)
    }

    /// Makes the database know the other server's key.
    pub async fn publish_key(&self, connection: &Connection) -> Result<()> {
        let statement = "
            select matriarch.store_server_keys(
                $1, array[$2], array[$3], array[9007199254740991], array[false])";
        let args: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&SERVER, &KEY_ID, &self.key.public_key_base64()];
        connection.execute(statement, &args).await?;
        Ok(())
    }

    /// Loads the room as `send_join` hands it over: its state and auth chain, then the newest event with that
    /// state.
    pub async fn load(&self, connection: &Connection) -> Result<()> {
        let all: Vec<usize> = (0..self.events.len()).collect();
        for chunk in all.chunks(CHUNK) {
            self.receive(connection, "outlier", chunk, None).await?;
        }
        let newest = self.events.len() - 1;
        let mut before: Vec<&str> = Vec::with_capacity(self.state.len());
        before.extend(
            self.state
                .values()
                .filter(|place| **place != newest)
                .map(|place| self.events[*place].event.event_id()),
        );
        let states = json!({ self.events[newest].event.event_id(): before }).to_string();
        self.receive(connection, "live", &[newest], Some(&states)).await
    }

    /// Delivers events; every one of them must be taken.
    pub async fn receive(
        &self,
        connection: &Connection,
        kind: &str,
        places: &[usize],
        states: Option<&str>,
    ) -> Result<()> {
        let pdus: Vec<&str> = places.iter().map(|place| self.events[*place].json.as_str()).collect();
        let statement = "select body from matriarch.receive_pdus($1, '12', $2, $3, $4, null)";
        let row = connection.query_one(statement, &[&self.room_id, &kind, &pdus, &states]).await?;
        let body: String = row.get(0);
        let report: Value = serde_json::from_str(&body)?;
        let taken = if kind == "outlier" { "outlier" } else { "accepted" };
        let all = report["pdus"].as_array().ok_or("no report")?;
        match all.iter().find(|pdu| pdu["verdict"] != taken) {
            Some(pdu) => Err(format!("not {taken}: {pdu}").into()),
            None => Ok(()),
        }
    }
}
