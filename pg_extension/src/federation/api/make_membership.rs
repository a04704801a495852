//! Serves templates of membership events to other servers, as the resident server. Server-Server API,
//! "Joining Rooms", "Knocking upon a room" and "Leaving Rooms (Rejecting Invites)".

use matriarch_rules::{
    Map,
    identifiers::{is_user_id, server_name},
};
use pgrx::{Array, pg_extern};
use serde_json::json;

use super::asked_room;
use crate::{
    append::{self, LocalEvent},
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        spi::{Db, Mode},
        users::User,
    },
    client::room_membership::{Unauthorized, authorizer_for},
    room::Room,
};

const USER: &str = "select user_nid from users where user_id = $1";

/// The keys that the origin adds when it signs the event. Room versions 1 and 2 have `event_id`.
const ADDED_LATER: [&str; 3] = ["hashes", "signatures", "event_id"];

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`, `make_knock`, `make_leave`. `versions` are the
/// room versions that the origin supports; NULL if the endpoint does not take them.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` for a user of a third server, and for what the room does not allow; 404 `M_NOT_FOUND` if
/// this server is not in the room, `M_UNABLE_DUE_TO_PARTIAL_STATE` (MSC3895) while the room is partial; 400
/// `M_INCOMPATIBLE_ROOM_VERSION` with `room_version`; for restricted rooms 400 `M_UNABLE_TO_AUTHORISE_JOIN`
/// and `M_UNABLE_TO_GRANT_JOIN`.
#[pg_extern(stable)]
fn federation_make_membership(
    origin: &str,
    room_id: &str,
    user_id: &str,
    membership: &str,
    versions: Option<Array<'_, &str>>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        if !is_user_id(user_id) || server_name(user_id) != Some(origin) {
            return Err(MatrixError::forbidden("The user is not on your server."));
        }
        let mut room = asked_room::open_if_joined(db, origin, room_id)?;
        room.check_whole()?;
        let version = room.version.id;
        if versions.is_some_and(|versions| !versions.iter().flatten().any(|known| known == version)) {
            let error = "Your server does not support the room's version.";
            return Err(
                MatrixError::new(400, "M_INCOMPATIBLE_ROOM_VERSION", error).with("room_version", version)
            );
        }
        let user = known_user(db, user_id);
        let mut content = Map::new();
        content.insert("membership".to_owned(), membership.into());
        if membership == "join" {
            let authorizer = authorizer_of_join(&mut room, &user)?;
            content.extend(
                authorizer.map(|user_id| ("join_authorised_via_users_server".to_owned(), user_id.into())),
            );
        }
        let event = LocalEvent::state(&user, "m.room.member", user_id, content);
        let mut template = append::prepare(&mut room, event)?.event.into_json();
        template.retain(|key, _| !ADDED_LATER.contains(&key.as_str()));
        Ok(Response::json(&json!({ "room_version": version, "event": template })))
    })
}

/// A remote user. The nid is 0, which no user has, if the user has no row.
pub fn known_user(db: &Db<'_>, user_id: &str) -> User {
    let nid = db.query_opt(USER, &[user_id.into()]).map_or(0, |row| row.get("user_nid"));
    User { nid, id: user_id.to_owned() }
}

/// The local user who authorizes a join of a restricted room; `None` if the join needs none.
///
/// # Errors
///
/// As in the Server-Server API, "Restricted rooms".
pub fn authorizer_of_join(room: &mut Room<'_>, user: &User) -> Result<Option<String>> {
    authorizer_for(room, user).map_err(|reason| match reason {
        Unauthorized::NoneMet => {
            MatrixError::forbidden("The user is in none of the rooms whose members may join this room.")
        }
        Unauthorized::CannotTell => MatrixError::new(
            400,
            "M_UNABLE_TO_AUTHORISE_JOIN",
            "This server does not know whether the user is in a room whose members may join this room.",
        ),
        Unauthorized::NobodyMayInvite => MatrixError::new(
            400,
            "M_UNABLE_TO_GRANT_JOIN",
            "No user of this server in the room may invite, so none can authorize the join.",
        ),
    })
}
