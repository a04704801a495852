//! Joins to restricted rooms. Client-Server API, "Restricted rooms".

use matriarch_rules::{
    Map,
    power_levels::{LevelName, additional_creators, creator},
};
use serde_json::Value;

use crate::{
    base::{
        response::{MatrixError, Result},
        users::User,
    },
    room::Room,
};

const AUTHORIZER: &str = "join_authorised_via_users_server";

const IS_IN_ONE_OF: &str = "
    select from memberships m join rooms r using (room_nid)
    where m.user_nid = $1 and m.membership = 'join' and r.room_id = any($2)
    limit 1";

/// Counts the listed rooms whose member list this server knows: a local user is joined, and the room is not
/// partial.
const KNOWN: &str = "
    select count(*) as known
    from unnest($1) as wanted (room_id)
    cross join lateral (
        select room_nid from rooms where room_id = wanted.room_id and not partial offset 0
    ) r
    where exists (
        select
        from memberships m
        cross join lateral (select from accounts where user_nid = m.user_nid offset 0) a
        where m.room_nid = r.room_nid and m.membership = 'join'
    )";

/// Users in $2 may invite; if $3 is true, so may all users except those in $4.
const FIND_AUTHORIZER: &str = "
    select u.user_id
    from memberships m
    join users u using (user_nid)
    join accounts a using (user_nid)
    where m.room_nid = $1 and m.membership = 'join' and (u.user_id = any($2) or ($3 and u.user_id <> all($4)))
    limit 1";

/// Why no local user can authorize a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthorized {
    /// The user meets none of the room's conditions.
    NoneMet,
    /// The user meets none of the conditions that this server can check, but there are others.
    CannotTell,
    /// No local user in the room may invite.
    NobodyMayInvite,
}

/// Adds the user who authorizes the join to the content, if the join rules require one.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` if the user meets none of the room's conditions, or no local user in the room may
/// invite.
pub fn authorize_join(room: &mut Room<'_>, user: &User, content: &mut Map) -> Result<()> {
    content.remove(AUTHORIZER);
    let authorizer = authorizer_for(room, user).map_err(|reason| match reason {
        Unauthorized::NoneMet | Unauthorized::CannotTell => {
            MatrixError::forbidden("You are in none of the rooms whose members may join this room.")
        }
        Unauthorized::NobodyMayInvite => MatrixError::forbidden(
            "No user of this server in the room may invite, so none can authorize your join.",
        )
        .or_elsewhere(),
    })?;
    content.extend(authorizer.map(|authorizer| (AUTHORIZER.to_owned(), authorizer.into())));
    Ok(())
}

/// A local user who can authorize this user's join; `None` if the join needs no authorization.
pub fn authorizer_for(room: &mut Room<'_>, user: &User) -> std::result::Result<Option<String>, Unauthorized> {
    let allow = match room.state("m.room.join_rules", "") {
        Some(rules) if restricts(room, rules.event.content()) => allowed_rooms(rules.event.content()),
        _ => return Ok(None),
    };
    let membership = room.membership(&user.id).map(|(membership, _)| membership);
    if matches!(membership.as_deref(), Some("join" | "invite" | "ban")) {
        // A joined or invited user needs no authorization, and a banned user cannot get it.
        return Ok(None);
    }
    if room.db.query_opt(IS_IN_ONE_OF, &[user.nid.into(), allow.clone().into()]).is_none() {
        let wanted = allow.len() as i64;
        let known: i64 = room.db.query_one(KNOWN, &[allow.into()]).get("known");
        return Err(if known < wanted { Unauthorized::CannotTell } else { Unauthorized::NoneMet });
    }
    find_authorizer(room).map(Some).ok_or(Unauthorized::NobodyMayInvite)
}

fn restricts(room: &Room<'_>, join_rules: &Map) -> bool {
    match join_rules.get("join_rule").and_then(Value::as_str) {
        Some("restricted") => room.version.restricted_joins,
        Some("knock_restricted") => room.version.knock_restricted_joins,
        _ => false,
    }
}

/// A local user who is in the room and may invite.
fn find_authorizer(room: &mut Room<'_>) -> Option<String> {
    let create = room.state("m.room.create", "")?.event;
    let levels_event = room.state("m.room.power_levels", "").map(|levels| levels.event);
    let users = levels_event.as_ref().and_then(|levels| levels.content().get("users")?.as_object());
    let named: Vec<String> = users
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .chain(creator(room.version, &create))
        .chain(additional_creators(room.version, &create))
        .filter(|user_id| !user_id.contains('\0'))
        .map(str::to_owned)
        .collect();
    let (named_may, named_may_not, others_may) = room.power_levels(|levels| {
        let (may, may_not): (Vec<String>, Vec<String>) =
            named.into_iter().partition(|user_id| levels.may(user_id, LevelName::Invite));
        let others_may = match (levels.level(LevelName::UsersDefault), levels.level(LevelName::Invite)) {
            (Ok(default), Ok(invite)) => default >= invite,
            _ => false,
        };
        (may, may_not, others_may)
    })?;
    let args = [room.nid.into(), named_may.into(), others_may.into(), named_may_not.into()];
    Some(room.db.query_opt(FIND_AUTHORIZER, &args)?.get("user_id"))
}

/// The rooms whose members may join, by conditions of type `m.room_membership`; there are no other known
/// types.
pub fn allowed_rooms(join_rules: &Map) -> Vec<String> {
    let conditions = join_rules.get("allow").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition.get("type").and_then(Value::as_str) == Some("m.room_membership"))
        .filter_map(|condition| condition.get("room_id")?.as_str())
        .filter(|room_id| !room_id.contains('\0'))
        .map(str::to_owned)
        .collect()
}
