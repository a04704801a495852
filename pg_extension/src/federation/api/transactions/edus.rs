//! EDUs: what is neither an event nor lasts. Server-Server API, "EDUs". One that is malformed, or says what its server may not
//! say, has no effect, and never any on the rest of the transaction.

use std::collections::BTreeSet;

use matriarch_rules::{Map, json::parse_object};

use super::{
    presence::Presence, receipts::Receipts, rooms::InboundRooms, to_device::Messages, typing::Typing,
};
use crate::{
    base::{response::Response, spi::Db},
    federation::device_lists::Updates,
};

/// The EDUs of a transaction by kind. Those of kinds that are not known are passed over.
#[derive(Debug, Default)]
pub struct Edus {
    typing: Typing,
    receipts: Receipts,
    to_device: Messages,
    device_lists: Updates,
    presence: Presence,
}

impl Edus {
    /// Reads JSON texts.
    pub fn read(origin: &str, texts: &[String]) -> Self {
        let mut edus = Self::default();
        for text in texts {
            if let Ok(edu) = parse_object(text) {
                edus.add(origin, &edu);
            }
        }
        edus
    }

    /// `None` for what has no effect.
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

    /// The rooms that they speak of.
    pub fn room_ids(&self) -> BTreeSet<&str> {
        self.typing.room_ids().chain(self.receipts.room_ids()).collect()
    }

    /// Has them take effect; the answer, with who is to be woken.
    pub fn apply(self, db: &Db<'_>, origin: &str, rooms: &InboundRooms, mut response: Response) -> Response {
        response.wake_rooms.extend(self.typing.apply(db, rooms));
        response.wake_rooms.extend(self.receipts.apply(db, rooms));
        response.wake_users.extend(self.to_device.apply(db, origin));
        response.wake_rooms.extend(self.device_lists.apply(db, origin));
        response.wake_rooms.extend(self.presence.apply(db));
        response
    }
}
