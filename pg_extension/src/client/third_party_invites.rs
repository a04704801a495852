//! Begins an invite by third-party id. Client-Server API, "Third-party invites".

use matriarch_rules::Map;
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    append::{self, LocalEvent},
    base::{
        response::{MatrixError, Response, ResponseRows, respond},
        session::Session,
        spi::Mode,
    },
    room::Room,
};

/// What identity servers are told of a room as the inviting user sees it: event types, and fields of their
/// content.
const TOLD: [(&str, &str, &str); 5] = [
    ("m.room.canonical_alias", "alias", "room_alias"),
    ("m.room.avatar", "url", "room_avatar_url"),
    ("m.room.join_rules", "join_rule", "room_join_rules"),
    ("m.room.name", "name", "room_name"),
    ("m.room.create", "type", "room_type"),
];

/// What the identity server is told, if the user may invite by third-party id.
///
/// The errors are those of an invite.
#[pg_extern(volatile)]
fn begin_third_party_invite(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        Room::with(db, room_id, |room| {
            let probe = json!({ "display_name": "", "key_validity_url": "", "public_key": "" });
            let probe = probe.as_object().cloned().unwrap_or_default();
            append::prepare(room, LocalEvent::state(&user, "m.room.third_party_invite", "", probe))?;
            let mut told = Map::new();
            let mut tell = |name: &str, value: Option<&Value>| {
                if let Some(value @ Value::String(_)) = value {
                    told.insert(name.to_owned(), value.clone());
                }
            };
            for (event_type, key, name) in TOLD {
                if let Some(state) = room.state(event_type, "") {
                    tell(name, state.event.content().get(key));
                }
            }
            if let Some((_, member)) = room.membership(&user.id) {
                tell("sender_display_name", member.event.content().get("displayname"));
                tell("sender_avatar_url", member.event.content().get("avatar_url"));
            }
            tell("sender", Some(&user.id.as_str().into()));
            tell("room_id", Some(&room_id.into()));
            Ok(Response::json(&told.into()))
        })
        .unwrap_or_else(|| Err(MatrixError::not_found("This server is not in the room.")))
    })
}
