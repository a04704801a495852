//! Out-of-band memberships: invites, knocks and leaves of local users for rooms that this server has not
//! joined.

use matriarch_rules::{Map, event::format::MAX_PDU_BYTES};
use serde_json::{Value, json};

use crate::base::{spi::Db, users::User};

/// The number of stripped state events of a room that another server may send.
pub const MAX_STATE: usize = 100;
/// The most bytes of stripped state that an invited user is shown of a room.
pub const MAX_STATE_BYTES: usize = 200_000;

const RECORD: &str = "
    insert into out_of_band_memberships (user_nid, room_id, room_version, sender_nid, membership, event,
        state, bytes)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (user_nid, room_id) do update
    set room_version = excluded.room_version, sender_nid = excluded.sender_nid, xid = excluded.xid,
        membership = excluded.membership, event = excluded.event, state = excluded.state,
        bytes = excluded.bytes, forgotten = false";

const LEAVE: &str = "
    update out_of_band_memberships
    set membership = 'leave', sender_nid = $1, event = $3, state = '{}', bytes = 0, xid = pg_current_xact_id()
    where user_nid = $1 and room_id = $2 and membership <> 'leave'";

/// `xid` stays: other devices still learn that the user left, and of nothing after that.
const FORGET: &str = "
    update out_of_band_memberships
    set forgotten = membership = 'leave'
    where user_nid = $1 and room_id = $2
    returning forgotten";

const FIND: &str = "select membership from out_of_band_memberships where user_nid = $1 and room_id = $2";

/// A room that this server has not joined.
pub struct UnjoinedRoom<'r> {
    pub room_id: &'r str,
    pub room_version: &'r str,
    /// Stripped state events.
    pub state: Vec<String>,
}

/// Records the invite or knock of a local user, from its member event.
pub fn record(db: &Db<'_>, room: UnjoinedRoom<'_>, user_nid: i64, sender: &User, event: &Map) {
    let event_type = |event: &String| serde_json::from_str::<Map>(event).ok()?.remove("type");
    let mut state = room.state;
    // What says what kind of room it is, before anything that is too long.
    state.sort_by_key(|event| event_type(event) != Some("m.room.create".into()));
    let mut bytes = 0;
    state.retain(|event| {
        let fits = bytes + event.len() <= MAX_STATE_BYTES && event.len() <= MAX_PDU_BYTES;
        bytes += if fits { event.len() } else { 0 };
        fits
    });
    let shown = stripped(event);
    let bytes = i32::try_from(bytes + shown.as_ref().map_or(0, String::len)).unwrap_or(i32::MAX);
    let membership = event.get("content").and_then(|content| content.get("membership")?.as_str());
    db.execute(
        RECORD,
        &[
            user_nid.into(),
            room.room_id.into(),
            room.room_version.into(),
            sender.nid.into(),
            membership.into(),
            shown.into(),
            state.into(),
            bytes.into(),
        ],
    );
}

/// The out-of-band membership of a local user.
pub fn find(db: &Db<'_>, user_nid: i64, room_id: &str) -> Option<String> {
    Some(db.query_opt(FIND, &[user_nid.into(), room_id.into()])?.get("membership"))
}

/// The stripped form of a state event; `None` if `event` is no state event. Client-Server API, "Stripped
/// state".
pub fn stripped(event: &Map) -> Option<String> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    let content = event.get("content").filter(|content| content.is_object())?;
    let (sender, state_key, event_type) = (text("sender")?, text("state_key")?, text("type")?);
    let event = json!({ "content": content, "sender": sender, "state_key": state_key, "type": event_type });
    Some(event.to_string())
}

/// Records that a local user left a room, with `event` as a sync shows it. Returns whether the user had an
/// out-of-band membership.
pub fn leave(db: &Db<'_>, user_nid: i64, room_id: &str, event: String) -> bool {
    if find(db, user_nid, room_id).is_none() {
        return false;
    }
    db.execute(LEAVE, &[user_nid.into(), room_id.into(), event.into()]);
    true
}

/// Forgets a room that the user left. Returns whether it is forgotten now: it is not if the user is invited
/// or knocks. `None` if the user has no out-of-band membership.
pub fn forget(db: &Db<'_>, user_nid: i64, room_id: &str) -> Option<bool> {
    Some(db.query_opt(FORGET, &[user_nid.into(), room_id.into()])?.get("forgotten"))
}

/// An event in the format in which a sync returns it.
pub fn client_event(event_id: &str, event: &Map) -> String {
    let mut shown: Map = ["content", "origin_server_ts", "sender", "state_key", "type"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), event.get(key)?.clone())))
        .collect();
    shown.insert("event_id".to_owned(), event_id.into());
    Value::Object(shown).to_string()
}
