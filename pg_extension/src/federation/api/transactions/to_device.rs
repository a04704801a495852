//! `m.direct_to_device`. Server-Server API, "Send-to-device messaging".

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::Map;
use serde_json::Value;

use crate::{
    base::spi::Db,
    client::send_to_device,
    federation::remote_users::{is_sound, user_of},
};

/// Messages to devices of local users by `message_id`, so that a repeated one is applied once.
#[derive(Debug, Default)]
pub struct Messages(BTreeMap<String, (usize, send_to_device::Messages)>);

const FIRST: &str = "
    insert into inbound_to_device (origin, message_id)
    select $1, message_id from unnest($2::text[]) as message_id order by message_id
    on conflict (origin, message_id) do nothing
    returning message_id";

impl Messages {
    /// Reads the content of an EDU; `None` if it is ignored.
    pub fn add(&mut self, origin: &str, content: &Map) -> Option<()> {
        let sender = user_of(origin, content.get("sender"))?;
        let string = |key| content.get(key).and_then(Value::as_str).filter(|text| is_sound(text));
        let (event_type, message_id) = (string("type")?, string("message_id")?);
        let contents = content.get("messages")?.as_object()?;
        let mut messages = send_to_device::Messages::default();
        for (user_id, devices) in contents.iter().filter(|(user_id, _)| is_sound(user_id)) {
            for (device_id, content) in devices.as_object().into_iter().flatten() {
                if content.is_object() && !device_id.contains('\0') {
                    // A message that is too long is dropped.
                    let _too_long =
                        messages.add(&sender, event_type, user_id, device_id, &content.to_string());
                }
            }
        }
        let number = self.0.len();
        self.0.entry(message_id.to_owned()).or_insert((number, messages));
        Some(())
    }

    /// Queues the new messages. Returns the users to wake.
    pub fn apply(self, db: &Db<'_>, origin: &str) -> Vec<i64> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let ids: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let first: BTreeSet<String> =
            db.query(FIRST, &[origin.into(), ids.into()]).map(|row| row.get("message_id")).collect();
        let mut new: Vec<(usize, send_to_device::Messages)> =
            self.0.into_iter().filter(|(id, _)| first.contains(id)).map(|(_, messages)| messages).collect();
        new.sort_by_key(|(number, _)| *number);
        send_to_device::queue(db, new.into_iter().map(|(_, messages)| messages))
    }
}
