//! Summaries from other servers: their answers to `GET /hierarchy/{roomId}` of the federation API.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use matriarch_rules::Map;
use matriarch_wire::RoomAnswer;
use serde_json::Value;

use super::Summary;
use crate::base::response::{MatrixError, Result};

/// The summaries in the answers of other servers.
#[derive(Debug, Default)]
pub struct RemoteRooms {
    /// `None` for rooms of which no server gives a summary.
    rooms: HashMap<String, Option<Rc<Summary>>>,
    /// Rooms that were asked about.
    asked: HashSet<String>,
}

impl RemoteRooms {
    /// Reads an array of [`RoomAnswer`].
    ///
    /// # Errors
    ///
    /// 400 `M_BAD_JSON` if the text is malformed.
    pub fn read(answers: Option<&str>) -> Result<Self> {
        let mut this = Self::default();
        let Some(answers) = answers else { return Ok(this) };
        let asked: Vec<RoomAnswer<'_>> =
            serde_json::from_str(answers).map_err(|error| MatrixError::bad_json(error.to_string()))?;
        let mut spaces = Vec::new();
        for RoomAnswer { room_id, answer } in asked {
            let room_id = room_id.into_owned();
            let answer: Option<Map> = answer.and_then(|answer| serde_json::from_str(answer.get()).ok());
            let room = answer.as_ref().and_then(|answer| answer.get("room")?.as_object());
            let summary = room.and_then(Summary::read).filter(|summary| summary.room_id == room_id);
            let summary = summary.map(Rc::new);
            spaces.extend(summary.clone().zip(answer));
            this.rooms.insert(room_id.clone(), summary);
            this.asked.insert(room_id);
        }
        for (space, answer) in spaces {
            this.add_children(&space, &answer);
        }
        Ok(this)
    }

    /// Adds the summaries of a space's children, unless servers were asked about those themselves.
    fn add_children(&mut self, space: &Summary, answer: &Map) {
        let named: HashSet<&str> = space.children.iter().map(|child| child.room_id.as_str()).collect();
        let array = |key: &str| answer.get(key).and_then(Value::as_array).into_iter().flatten();
        let summaries = array("children").filter_map(Value::as_object).filter_map(Summary::read);
        for summary in summaries.filter(|summary| named.contains(summary.room_id.as_str())) {
            let room_id = summary.room_id.clone();
            self.rooms.entry(room_id).or_insert_with(|| Some(Rc::new(summary)));
        }
        let inaccessible = array("inaccessible_children").filter_map(Value::as_str);
        for room_id in inaccessible.filter(|room_id| named.contains(room_id)) {
            self.rooms.entry(room_id.to_owned()).or_insert(None);
        }
    }

    /// What is known of a room; `None` if a server must be asked.
    pub fn get(&self, room_id: &str) -> Option<Option<Rc<Summary>>> {
        self.rooms.get(room_id).cloned()
    }

    /// Whether servers were asked about the room itself, not only about its space.
    pub fn was_asked(&self, room_id: &str) -> bool {
        self.asked.contains(room_id)
    }
}
