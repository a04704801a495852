//! A user annotates an event once with the same event type and key. Client-Server API, "Avoiding duplicate
//! annotations". Other servers' users are not checked, as their events are in the room's graph already.

use matriarch_rules::Event;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    base::{
        response::{MatrixError, Result},
        users::User,
    },
    room::Room,
};

/// One that was redacted does not count.
const EARLIER: &str = "
    select
    from local_annotations a
    join events e using (event_nid)
    where a.room_nid = $1 and a.sender_nid = $2 and a.annotation_hash = $3 and e.redacted_by is null";

const NOTE: &str = "
    insert into local_annotations (room_nid, sender_nid, annotation_hash, event_nid) values ($1, $2, $3, $4)
    on conflict (room_nid, sender_nid, annotation_hash) do update set event_nid = excluded.event_nid";

/// What a local user's event annotates, and how.
pub struct Annotation {
    sender_nid: i64,
    /// SHA-256 of the target, the event type and the key.
    hash: Vec<u8>,
}

impl Annotation {
    /// `None` if the event is no annotation.
    pub fn of(event: &Event, sender: &User) -> Option<Self> {
        let relation = event.content().get("m.relates_to")?;
        let text = |key: &str| relation.get(key).and_then(Value::as_str);
        if text("rel_type") != Some("m.annotation") {
            return None;
        }
        let (target, key) = (text("event_id")?, text("key")?);
        let named = Value::from(vec![target, event.event_type(), key]).to_string();
        Some(Self { sender_nid: sender.nid, hash: Sha256::digest(named.as_bytes()).to_vec() })
    }

    /// 400 `M_DUPLICATE_ANNOTATION` if the user has sent the same annotation before.
    pub fn refuse_duplicate(&self, room: &mut Room<'_>) -> Result<()> {
        room.write_events();
        let args = [room.nid.into(), self.sender_nid.into(), self.hash.as_slice().into()];
        match room.db.query_opt(EARLIER, &args) {
            Some(_) => {
                let error = "You have annotated this event in the same way before.";
                Err(MatrixError::new(400, "M_DUPLICATE_ANNOTATION", error))
            }
            None => Ok(()),
        }
    }

    /// Remembers the annotation, which was appended.
    pub fn note(&self, room: &mut Room<'_>, event_nid: i64) {
        let hash = self.hash.as_slice();
        let args = [room.nid.into(), self.sender_nid.into(), hash.into(), event_nid.into()];
        room.db.execute(NOTE, &args);
    }
}
