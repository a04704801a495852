//! Pages of the directory: the rooms with most members first, among equals by room id.

use serde_json::{Value, json};

use super::Description;
use crate::base::{
    response::{MatrixError, Result},
    spi::Db,
};

/// How many rooms are read at once when most may not match.
const SEARCH_BATCH: i64 = 200;

/// A point in the directory and a direction. As a token it is `n<members>_<room id>`, or with `p` for
/// backward: "after (before) the room with this number of members and this id".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    backward: bool,
    joined_members: i32,
    room_id: String,
}

impl Order {
    /// From the beginning.
    pub const FIRST: Self = Self { backward: false, joined_members: i32::MAX, room_id: String::new() };

    /// Reads a token; 400 `M_INVALID_PARAM` if it is malformed.
    pub fn parse(token: &str) -> Result<Self> {
        let read = || {
            let (key, backward) = match token.strip_prefix('n') {
                Some(key) => (key, false),
                None => (token.strip_prefix('p')?, true),
            };
            let (joined_members, room_id) = key.split_once('_')?;
            Some(Self { backward, joined_members: joined_members.parse().ok()?, room_id: room_id.to_owned() })
        };
        read().ok_or_else(|| MatrixError::invalid_param("`since` is not a token of this server."))
    }

    fn token(backward: bool, room: &Listed) -> String {
        format!("{}{}_{}", if backward { 'p' } else { 'n' }, room.joined_members, room.room_id)
    }
}

/// A room of the directory.
pub struct Listed {
    pub room_nid: i64,
    room_id: String,
    joined_members: i32,
    pub description: Description,
}

/// A part of the directory.
pub struct Page {
    rooms: Vec<Listed>,
    has_next: bool,
    has_previous: bool,
}

const FORWARD: &str = "
    select room_nid, room_id, joined_members
    from rooms
    where published and joined_members > 0 and (-joined_members, room_id) > (-$1, $2)
    order by joined_members desc, room_id
    limit $3";

const BACKWARD: &str = "
    select room_nid, room_id, joined_members
    from rooms
    where published and joined_members > 0 and (-joined_members, room_id) < (-$1, $2)
    order by joined_members, room_id desc
    limit $3";

impl Page {
    /// Reads up to `limit` rooms. `select` removes those that are not wanted; `all` says that it removes
    /// none.
    pub fn read(
        db: &Db<'_>,
        order: &Order,
        limit: usize,
        all: bool,
        select: impl Fn(&mut Vec<Listed>),
    ) -> Self {
        // One more, to know whether there are further rooms.
        let wanted = limit + 1;
        let batch_size = if all { i64::try_from(wanted).unwrap_or(SEARCH_BATCH) } else { SEARCH_BATCH };
        let mut rooms = Vec::new();
        let mut from = order.clone();
        while rooms.len() < wanted {
            let mut batch = batch(db, &from, batch_size);
            let Some(last) = batch.last() else { break };
            from = Order { joined_members: last.joined_members, room_id: last.room_id.clone(), ..from };
            select(&mut batch);
            rooms.append(&mut batch);
        }
        let more = rooms.len() > limit;
        rooms.truncate(limit);
        if order.backward {
            rooms.reverse();
        }
        let came_from_elsewhere = *order != Order::FIRST;
        Self {
            rooms,
            has_next: if order.backward { came_from_elsewhere } else { more },
            has_previous: if order.backward { more } else { came_from_elsewhere },
        }
    }

    /// The answer to the request.
    pub fn to_json(&self, total: i64) -> Value {
        let chunk: Vec<Value> = self
            .rooms
            .iter()
            .map(|room| room.description.to_json(&room.room_id, room.joined_members))
            .collect();
        let mut answer = json!({ "chunk": chunk, "total_room_count_estimate": total });
        if let Some(last) = self.rooms.last().filter(|_| self.has_next) {
            answer["next_batch"] = Order::token(false, last).into();
        }
        if let Some(first) = self.rooms.first().filter(|_| self.has_previous) {
            answer["prev_batch"] = Order::token(true, first).into();
        }
        answer
    }
}

/// Reads the next rooms, matching or not.
fn batch(db: &Db<'_>, from: &Order, size: i64) -> Vec<Listed> {
    let sql = if from.backward { BACKWARD } else { FORWARD };
    let args = [from.joined_members.into(), from.room_id.as_str().into(), size.into()];
    let rows: Vec<(i64, String, i32)> = db
        .query(sql, &args)
        .map(|row| (row.get("room_nid"), row.get("room_id"), row.get("joined_members")))
        .collect();
    let room_nids: Vec<i64> = rows.iter().map(|(room_nid, ..)| *room_nid).collect();
    let mut descriptions = Description::of(db, &room_nids);
    rows.into_iter()
        .map(|(room_nid, room_id, joined_members)| Listed {
            description: descriptions.remove(&room_nid).unwrap_or_default(),
            room_nid,
            room_id,
            joined_members,
        })
        .collect()
}
