//! Queues EDUs for other servers. Server-Server API, "EDUs" and the sections on each type of EDU.

use std::collections::BTreeMap;

use matriarch_rules::{identifiers::server_name, json_text::object_text};
use serde_json::{Value, json};

use crate::{
    base::{ids::random_letters, spi::Db},
    outbox::SENDERS,
};

/// The size of the messages in one `m.direct_to_device`, in bytes. A single larger message gets an EDU of its
/// own.
const MESSAGES_BYTES: usize = 32_768;

const TO_ROOM: &str = "
    insert into outgoing_edus (destination_nid, edu_type, merge_key, content)
    select r.destination_nid, $4, edu.merge_key, edu.content
    from unnest($1::bigint[], $2::text[], $3::text[]) as edu (room_nid, merge_key, content)
    cross join lateral (
        select destination_nid from destination_rooms
        where room_nid = edu.room_nid and left_nid is null offset 0
    ) r
    order by r.destination_nid, edu.merge_key
    on conflict (destination_nid, edu_type, merge_key) where merge_key is not null do update
    set edu_id = excluded.edu_id, content = excluded.content, created_at = excluded.created_at";

/// An EDU about a room.
#[derive(Debug)]
pub struct RoomEdu {
    pub room_nid: i64,
    /// The EDU replaces unsent EDUs of the same type and key for the same destination.
    pub merge_key: String,
    pub content: Value,
}

/// Queues EDUs of one type for the other servers in their rooms. Returns whether any server is to get one.
pub fn queue(db: &Db<'_>, edu_type: &str, edus: Vec<RoomEdu>) -> bool {
    if edus.is_empty() {
        return false;
    }
    let rooms: Vec<i64> = edus.iter().map(|edu| edu.room_nid).collect();
    let contents: Vec<String> = edus.iter().map(|edu| edu.content.to_string()).collect();
    let keys: Vec<String> = edus.into_iter().map(|edu| edu.merge_key).collect();
    db.execute(TO_ROOM, &[rooms.into(), keys.into(), contents.into(), edu_type.into()]) > 0
}

/// The EDU `m.typing` of a local user, who started or stopped typing.
pub fn typing(room_nid: i64, room_id: &str, user_id: &str, typing: bool) -> RoomEdu {
    RoomEdu {
        room_nid,
        merge_key: format!("{room_nid} {user_id}"),
        content: json!({ "room_id": room_id, "user_id": user_id, "typing": typing }),
    }
}

/// The EDU `m.receipt` of a local user's public read receipt. `ts` is in milliseconds.
pub fn receipt(
    room_nid: i64,
    room_id: &str,
    user_id: &str,
    thread_id: Option<&str>,
    event_id: &str,
    ts: i64,
) -> RoomEdu {
    let mut data = json!({ "ts": ts });
    if let Some(thread_id) = thread_id {
        data["thread_id"] = thread_id.into();
    }
    let receipt = json!({ user_id: { "data": data, "event_ids": [event_id] } });
    RoomEdu {
        room_nid,
        merge_key: format!("{room_nid} {user_id} {}", thread_id.unwrap_or_default()),
        content: json!({ room_id: { "m.read": receipt } }),
    }
}

/// Servers that share no room with this one get nothing.
const TO_SERVERS: &str = "
    insert into outgoing_edus (destination_nid, edu_type, content)
    select d.destination_nid, 'm.direct_to_device', edu.content
    from unnest($1::text[], $2::text[]) with ordinality as edu (server_name, content, number)
    cross join lateral (
        select destination_nid from destinations where server_name = edu.server_name offset 0
    ) d
    where exists (
        select from destination_rooms where destination_nid = d.destination_nid and left_nid is null
    )
    order by d.destination_nid, edu.number";

/// The contents of messages as JSON text, by user id and device id.
pub type MessagesByDevice = BTreeMap<String, BTreeMap<String, String>>;

/// Queues messages to devices of remote users. Returns the user to wake if any were queued.
pub fn send_to_device(
    db: &Db<'_>,
    sender: &str,
    event_type: &str,
    messages: MessagesByDevice,
) -> Option<i64> {
    let mut by_server: BTreeMap<String, Vec<MessagesByDevice>> = BTreeMap::new();
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for (user_id, contents) in messages {
        let Some(server) = server_name(&user_id).map(str::to_owned) else { continue };
        for (device_id, content) in contents {
            let size = sizes.entry(server.clone()).or_default();
            let edus = by_server.entry(server.clone()).or_default();
            if edus.is_empty() || *size + content.len() > MESSAGES_BYTES {
                edus.push(MessagesByDevice::new());
                *size = 0;
            }
            *size += content.len();
            if let Some(edu) = edus.last_mut() {
                edu.entry(user_id.clone()).or_default().insert(device_id, content);
            }
        }
    }
    let (mut servers, mut contents) = (Vec::new(), Vec::new());
    for (server, edus) in by_server {
        for messages in edus {
            servers.push(server.clone());
            contents.push(direct_to_device(sender, event_type, &messages));
        }
    }
    let any = !servers.is_empty() && db.execute(TO_SERVERS, &[servers.into(), contents.into()]) > 0;
    any.then_some(SENDERS)
}

fn direct_to_device(sender: &str, event_type: &str, messages: &MessagesByDevice) -> String {
    object_text(|content| {
        content.value("message_id", random_letters(32));
        content.object("messages", |by_user| {
            for (user_id, contents) in messages {
                by_user.object(user_id, |by_device| {
                    for (device_id, content) in contents {
                        by_device.raw(device_id, content);
                    }
                });
            }
        });
        content.value("sender", sender).value("type", event_type);
    })
}

/// Servers that share another room with the user have been told of the user's devices already.
const INTRODUCE: &str = "
    insert into outgoing_edus (destination_nid, edu_type, merge_key, content)
    select r.destination_nid, 'm.device_list_update', c.user_nid::text,
        json_build_object(
            'user_id', u.user_id, 'device_id', c.device_id, 'stream_id', c.stream_id,
            'prev_id', case when c.prev_id is null then '[]' else json_build_array(c.prev_id) end
        )::text
    from unnest($2::bigint[]) as joined (user_nid)
    cross join lateral (select user_id from users where user_nid = joined.user_nid offset 0) u
    cross join lateral (
        select user_nid, device_id, stream_id,
            lead(stream_id) over (order by stream_id desc) as prev_id
        from device_list_changes
        where user_nid = joined.user_nid and device_id is not null and audience is null
        order by stream_id desc
        limit 1
    ) c
    cross join lateral (
        select destination_nid from destination_rooms where room_nid = $1 and left_nid is null
        except
        select destination_nid from destinations where server_name = any($3)
        except
        select o.destination_nid
        from memberships m
        cross join lateral (
            select destination_nid from destination_rooms
            where room_nid = m.room_nid and left_nid is null offset 0
        ) o
        where m.user_nid = joined.user_nid and m.membership = 'join' and m.room_nid <> $1
    ) r
    order by r.destination_nid, c.user_nid
    on conflict (destination_nid, edu_type, merge_key) where merge_key is not null do update
    set edu_id = excluded.edu_id, content = excluded.content, created_at = excluded.created_at";

/// Tells the servers of a room of the devices and the presence of local users who joined it. Servers that
/// share another room with a user know the user's devices already.
pub fn introduce(db: &Db<'_>, room_nid: i64, user_nids: Vec<i64>) {
    if !user_nids.is_empty() {
        introduce_to_others(db, room_nid, user_nids.clone(), &[]);
        db.execute(INTRODUCE_PRESENCE, &[room_nid.into(), user_nids.into()]);
    }
}

/// Tells the servers of a room of the devices of local members, except servers that have been told of them.
pub fn introduce_to_others(db: &Db<'_>, room_nid: i64, user_nids: Vec<i64>, told: &[String]) {
    db.execute(INTRODUCE, &[room_nid.into(), user_nids.into(), told.to_vec().into()]);
}

const INTRODUCE_PRESENCE: &str = "
    insert into outgoing_edus (destination_nid, edu_type, merge_key, content)
    select d.destination_nid, 'm.presence', p.user_nid::text, p.user_nid::text
    from unnest($2::bigint[]) as joined (user_nid)
    cross join lateral (
        select user_nid from presence where user_nid = joined.user_nid and presence <> 'offline' offset 0
    ) p
    cross join lateral (
        select destination_nid from destination_rooms where room_nid = $1 and left_nid is null offset 0
    ) r
    join destinations d on d.destination_nid = r.destination_nid
    where d.failing_since is null
    order by d.destination_nid, p.user_nid
    on conflict (destination_nid, edu_type, merge_key) where merge_key is not null do update
    set edu_id = excluded.edu_id, created_at = excluded.created_at";

const WELCOME: &str = "
    insert into outgoing_edus (destination_nid, edu_type, merge_key, content)
    select d.destination_nid, 'm.presence', p.user_nid::text, p.user_nid::text
    from unnest($2::text[]) as s (server_name)
    cross join lateral (
        select destination_nid, failing_since from destinations where server_name = s.server_name offset 0
    ) d
    join destination_rooms r on r.destination_nid = d.destination_nid and r.room_nid = $1
    cross join lateral (
        select p.user_nid
        from presence p
        join memberships m on m.room_nid = $1 and m.user_nid = p.user_nid and m.membership = 'join'
        where p.presence <> 'offline' and not p.is_remote
        offset 0
    ) p
    where d.failing_since is null and r.joined_members = 1 and r.left_nid is null
    order by d.destination_nid, p.user_nid
    on conflict (destination_nid, edu_type, merge_key) where merge_key is not null do update
    set edu_id = excluded.edu_id, created_at = excluded.created_at";

/// Tells servers whose first users joined a room of the presence of the local members.
pub fn welcome(db: &Db<'_>, room_nid: i64, servers: Vec<&str>) {
    db.execute(WELCOME, &[room_nid.into(), servers.into()]);
}

/// Servers that do not answer are left out: presence would be outdated when they are back. The EDU holds the
/// user's nid; the presence itself is read when it is sent.
const PRESENCE: &str = "
    insert into outgoing_edus (destination_nid, edu_type, merge_key, content)
    select r.destination_nid, 'm.presence', u.user_nid::text, u.user_nid::text
    from unnest($1::bigint[]) as u (user_nid)
    cross join lateral (
        select distinct o.destination_nid
        from memberships m
        cross join lateral (
            select destination_nid from destination_rooms
            where room_nid = m.room_nid and left_nid is null offset 0
        ) o
        where m.user_nid = u.user_nid and m.membership = 'join'
        offset 0
    ) r
    join destinations d on d.destination_nid = r.destination_nid
    where d.failing_since is null
    order by r.destination_nid, u.user_nid
    on conflict (destination_nid, edu_type, merge_key) where merge_key is not null do update
    set edu_id = excluded.edu_id, created_at = excluded.created_at";

const TOLD: &str = "update presence set told_at = now() where user_nid = any($1)";

/// Queues the presence of local users for the servers that share rooms with them. The caller has locked the
/// users' rows of `presence`.
pub fn presence(db: &Db<'_>, user_nids: Vec<i64>) {
    db.execute(PRESENCE, &[user_nids.clone().into()]);
    db.execute(TOLD, &[user_nids.into()]);
}
