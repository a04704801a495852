//! Reads and applies the EDUs of a federation transaction. Server-Server API, "EDUs". A malformed EDU, or one
//! that its origin may not send, is ignored. It does not affect the rest of the transaction.

use std::collections::BTreeSet;

use matriarch_rules::{
    Map,
    json::{MAX_EDU_NESTING, parse_leniently},
};

use super::{
    presence::Presence, receipts::Receipts, rooms::InboundRooms, to_device::Messages, typing::Typing,
};
use crate::{
    base::{response::Response, spi::Db},
    federation::device_lists::Updates,
};

/// The EDUs of a transaction by type. Unknown types are ignored.
#[derive(Debug, Default)]
pub struct Edus {
    typing: Typing,
    receipts: Receipts,
    to_device: Messages,
    device_lists: Updates,
    presence: Presence,
}

impl Edus {
    /// Reads the EDUs from JSON texts.
    pub fn read(origin: &str, texts: &[String]) -> Self {
        let mut edus = Self::default();
        for text in texts {
            if let Ok(edu) = parse_leniently(text, MAX_EDU_NESTING) {
                edus.add(origin, &edu);
            }
        }
        edus
    }

    /// Adds an EDU; `None` if it is ignored.
    fn add(&mut self, origin: &str, edu: &Map) -> Option<()> {
        let content = edu.get("content")?.as_object()?;
        match edu.get("edu_type")?.as_str()? {
            "m.typing" => self.typing.add(origin, content),
            "m.receipt" => self.receipts.add(origin, content),
            "m.direct_to_device" => self.to_device.add(origin, content),
            "m.device_list_update" => self.device_lists.add_device(origin, content),
            "m.signing_key_update" => self.device_lists.add_cross_signing(origin, content),
            "m.presence" => self.presence.add(origin, content),
            _ => None,
        }
    }

    /// The ids of the rooms that the EDUs name.
    pub fn room_ids(&self) -> BTreeSet<&str> {
        self.typing.room_ids().chain(self.receipts.room_ids()).collect()
    }

    /// Applies the EDUs, and adds the rooms and users to wake to the response.
    pub fn apply(self, db: &Db<'_>, origin: &str, rooms: &InboundRooms, mut response: Response) -> Response {
        response.wake_rooms.extend(self.typing.apply(db, rooms));
        response.wake_rooms.extend(self.receipts.apply(db, rooms));
        response.wake_users.extend(self.to_device.apply(db, origin));
        response.wake_rooms.extend(self.device_lists.apply(db, origin));
        response.wake_rooms.extend(self.presence.apply(db));
        response
    }
}
