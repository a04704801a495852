//! Reads room keys that clients upload.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::require_object;
use crate::base::{
    request::{self, ObjectOf},
    response::{MatrixError, Result},
};

/// The longest room and session ids, in bytes.
const MAX_ID_BYTES: usize = 255;
/// The longest `session_data`, in bytes. Clients store about 1,000.
const MAX_DATA_BYTES: usize = 8192;

/// The body of `PUT /room_keys/keys`.
#[derive(Deserialize)]
struct Backup<'j> {
    #[serde(borrow)]
    rooms: BTreeMap<String, ObjectOf<RoomBackup<'j>>>,
}

#[derive(Deserialize)]
struct RoomBackup<'j> {
    #[serde(borrow)]
    sessions: BTreeMap<String, ObjectOf<KeyData<'j>>>,
}

#[derive(Deserialize)]
struct KeyData<'j> {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
    #[serde(borrow)]
    session_data: &'j RawValue,
}

/// Room keys, as columns of equal length. Each session of a room occurs once.
#[derive(Default)]
pub struct Keys<'j> {
    pub room_ids: Vec<String>,
    pub session_ids: Vec<String>,
    pub first_message_indexes: Vec<i64>,
    pub forwarded_counts: Vec<i64>,
    pub are_verified: Vec<bool>,
    pub session_data: Vec<&'j str>,
}

impl<'j> Keys<'j> {
    /// The keys in a body: of the whole backup; with a `room_id`, of a room; with a `session_id` too, of a
    /// session.
    pub fn parse(room_id: Option<&str>, session_id: Option<&str>, content: &'j str) -> Result<Self> {
        let mut keys = Self::default();
        match (room_id, session_id) {
            (Some(room_id), Some(session_id)) => {
                keys.push(room_id.to_owned(), session_id.to_owned(), &request::typed(content)?)?;
            }
            (Some(room_id), None) => keys.push_room(room_id, request::typed(content)?)?,
            (None, _) => {
                let backup: Backup<'j> = request::typed(content)?;
                for (room_id, ObjectOf(room)) in backup.rooms {
                    keys.push_room(&room_id, room)?;
                }
            }
        }
        Ok(keys)
    }

    fn push_room(&mut self, room_id: &str, room: RoomBackup<'j>) -> Result<()> {
        room.sessions
            .into_iter()
            .try_for_each(|(session_id, ObjectOf(data))| self.push(room_id.to_owned(), session_id, &data))
    }

    fn push(&mut self, room_id: String, session_id: String, data: &KeyData<'j>) -> Result<()> {
        if !room_id.starts_with('!') || !is_storable(&room_id) {
            return Err(MatrixError::invalid_param("This is not a valid room ID."));
        }
        if session_id.is_empty() || !is_storable(&session_id) {
            return Err(MatrixError::invalid_param("This is not a valid session ID."));
        }
        require_object("session_data", data.session_data)?;
        if data.session_data.get().len() > MAX_DATA_BYTES {
            return Err(MatrixError::too_large("`session_data` is longer than 8192 bytes."));
        }
        self.room_ids.push(room_id);
        self.session_ids.push(session_id);
        self.first_message_indexes.push(count(data.first_message_index)?);
        self.forwarded_counts.push(count(data.forwarded_count)?);
        self.are_verified.push(data.is_verified);
        self.session_data.push(data.session_data.get());
        Ok(())
    }
}

fn is_storable(id: &str) -> bool {
    id.len() <= MAX_ID_BYTES && !id.contains('\0')
}

fn count(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| MatrixError::bad_json("A number is out of range."))
}
