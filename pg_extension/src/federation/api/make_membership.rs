//! Templates of membership events for users of other servers, as a server in the room makes them. Server-Server API, "Joining
//! Rooms", "Knocking upon a room" and "Leaving Rooms (Rejecting Invites)".

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

/// What the server that signs the event adds: the id too, where events have one.
const ADDED_LATER: [&str; 3] = ["hashes", "signatures", "event_id"];

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`, `make_knock`, `make_leave`. `versions` are the room versions that
/// the other server knows; NULL where the endpoint does not ask.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` for a user of a third server, and for what the room does not allow; 404 `M_NOT_FOUND` for a room that this
/// server is not in, `M_UNABLE_DUE_TO_PARTIAL_STATE` (MSC3895) while it is partial; 400 `M_INCOMPATIBLE_ROOM_VERSION` with `room_version`; for restricted rooms 400
/// `M_UNABLE_TO_AUTHORISE_JOIN` and `M_UNABLE_TO_GRANT_JOIN`.
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
            return Err(MatrixError::forbidden("The user is not of your server."));
        }
        let mut room = asked_room::open_inhabited(db, origin, room_id)?;
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

/// A user of another server; of nid 0, which nobody has, if no row mentions them.
pub fn known_user(db: &Db<'_>, user_id: &str) -> User {
    let nid = db.query_opt(USER, &[user_id.into()]).map_or(0, |row| row.get("user_nid"));
    User { nid, id: user_id.to_owned() }
}

/// Who of our users authorizes this user's join; `None` if it needs nobody.
///
/// # Errors
///
/// As "Restricted rooms" of the Server-Server API has them.
pub fn authorizer_of_join(room: &mut Room<'_>, user: &User) -> Result<Option<String>> {
    authorizer_for(room, user).map_err(|reason| match reason {
        Unauthorized::NoneMet => {
            MatrixError::forbidden("The user is in none of the rooms that this room asks for.")
        }
        Unauthorized::CannotTell => MatrixError::new(
            400,
            "M_UNABLE_TO_AUTHORISE_JOIN",
            "This server cannot tell whether the user is in one of the rooms that this room asks for.",
        ),
        Unauthorized::NobodyMayInvite => MatrixError::new(
            400,
            "M_UNABLE_TO_GRANT_JOIN",
            "Nobody of this server in the room may invite, and so authorize the join.",
        ),
    })
}
