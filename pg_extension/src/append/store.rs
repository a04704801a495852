//! Stores a local event that was authorized.

use std::rc::Rc;

use matriarch_rules::Event;
use serde_json::Value;

use crate::{
    base::users::{self, User},
    outbox::edus,
    room::{
        self, Extremity, POS_STEP, Room, StateEvent,
        annotations::Annotations,
        event_rows::{self, EventRow},
        graph_events::Status,
        predecessor::carry_over,
        reference,
        servers::ServerChanges,
    },
};

/// An authorized event.
pub(super) struct NewEvent<'e> {
    pub event: &'e Rc<Event>,
    pub canonical_json: String,
    pub sender: &'e User,
    pub auth_nids: Vec<i64>,
    pub annotations: Annotations,
    pub transaction: Option<(i64, &'e str)>,
}

const SET_KEY: &str = "
    with cited as (
        insert into event_auth_edges (auth_nid, event_nid) select auth_nid, $5 from unnest($6) as auth_nid
    )
    insert into room_state_keys (room_nid, key_idx, type, state_key, current_event_nid)
    values ($1, $2, $3, $4, $5)
    on conflict (room_nid, key_idx) do update set current_event_nid = excluded.current_event_nid";

/// Like [`SET_KEY`], but the event does not become the current one of its state key.
const ADD_KEY: &str = "
    with cited as (
        insert into event_auth_edges (auth_nid, event_nid) select auth_nid, $5 from unnest($6) as auth_nid
    )
    insert into room_state_keys (room_nid, key_idx, type, state_key) values ($1, $2, $3, $4)
    on conflict do nothing";

const SET_MEMBERSHIP: &str = "
    with settled as (
        delete from out_of_band_memberships where room_id = $8 and user_nid = $2
    )
    insert into memberships (room_nid, user_nid, event_nid, sender_nid, membership, display_name, avatar_url)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (room_nid, user_nid) do update
    set event_nid = excluded.event_nid, sender_nid = excluded.sender_nid, xid = excluded.xid,
        membership = excluded.membership, display_name = excluded.display_name,
        avatar_url = excluded.avatar_url, forgotten = memberships.forgotten
            and excluded.membership in ('leave', 'ban')";

/// Stores the event and updates the room. Returns the event's nid. A message event is kept in memory to be
/// written with others, at the latest when the room is stored.
pub fn store_event(room: &mut Room<'_>, new: NewEvent<'_>) -> i64 {
    let NewEvent { event, canonical_json, sender, auth_nids, annotations, transaction } = new;
    let key = event.state_key().map(|state_key| (event.event_type().to_owned(), state_key.to_owned()));
    let key_idx = key.as_ref().map(|(event_type, state_key)| key_idx(room, event_type, state_key));
    let prev_nids: Vec<i64> = room.header.cited().iter().map(|extremity| extremity.nid).collect();

    let out_of_band_server = room.out_of_band_server(event);
    let outgoing = room.mark_outgoing() || out_of_band_server.is_some();
    let header = &mut room.header;
    header.changed = true;
    header.depth = event.depth();
    header.last_pos += POS_STEP;
    // Unread counts of threads are separate, by thread root.
    if annotations.notifications.notifies && annotations.thread_root_nid.is_none() {
        header.notify_seq += 1;
    }
    let nid = event_rows::next_event_nid();
    let (device_nid, txn_id) = transaction.unzip();
    room.unwritten.push(EventRow {
        event_nid: nid,
        room_nid: room.nid,
        pos: Some(header.last_pos),
        depth: event.depth(),
        origin_server_ts: event.origin_server_ts(),
        sender_nid: sender.nid,
        state_before: Some(header.root),
        device_nid,
        thread_root_nid: annotations.thread_root_nid,
        notify_seq: header.notify_seq,
        key_idx,
        status: Status::Accepted,
        status_reason: None,
        notifies: annotations.notifications.notifies,
        event_id: event.event_id().to_owned(),
        event_type: event.event_type().to_owned(),
        txn_id: txn_id.map(str::to_owned),
        prev_nids,
        auth_nids: auth_nids.clone(),
        mentions: annotations.notifications.mentions,
        outgoing,
        json: canonical_json,
    });
    let newest = Extremity { nid, reference: Some(reference(room.version, event)) };
    room::note_newest(room.nid, &newest);
    header.advance(newest);

    if let (Some(key), Some(key_idx)) = (key, key_idx) {
        room.write_events();
        let (event_type, state_key) = (key.0.as_str(), key.1.as_str());
        room.db.execute(
            if room.merging { ADD_KEY } else { SET_KEY },
            &[
                room.nid.into(),
                key_idx.into(),
                event_type.into(),
                state_key.into(),
                nid.into(),
                auth_nids.into(),
            ],
        );
        if event_type == "m.room.member" && !room.merging {
            set_membership(room, event, state_key, sender, nid);
        }
        if let Some(server) = out_of_band_server {
            room.send_out_of_band(&server, nid);
        }
        room.set_state(key, key_idx, StateEvent { nid, event: Rc::clone(event) });
    }
    nid
}

/// The `key_idx` of a state key. A new state key gets the next number.
fn key_idx(room: &mut Room<'_>, event_type: &str, state_key: &str) -> i32 {
    if let Some(key_idx) = room.slot(event_type, state_key).key_idx {
        return key_idx;
    }
    let key_idx = room.header.next_key_idx;
    room.header.next_key_idx += 1;
    key_idx
}

/// Updates `memberships` and the room's counters of members. The event must not be in the loaded state yet.
fn set_membership(room: &mut Room<'_>, event: &Event, user_id: &str, sender: &User, event_nid: i64) {
    let user_nid =
        if user_id == sender.id { sender.nid } else { users::intern(room.db, &[user_id])[user_id] };
    let membership = event.content().get("membership").and_then(Value::as_str).unwrap_or_default();
    let text =
        |key: &str| event.content().get(key).and_then(Value::as_str).filter(|text| !text.contains('\0'));
    room.db.execute(
        SET_MEMBERSHIP,
        &[
            room.nid.into(),
            user_nid.into(),
            event_nid.into(),
            sender.nid.into(),
            membership.into(),
            text("displayname").into(),
            text("avatar_url").into(),
            room.id.as_str().into(),
        ],
    );
    room.wake_users.push(user_nid);
    let before = room.membership(user_id).map(|(membership, _)| membership);
    let change = |kind: &str| i32::from(membership == kind) - i32::from(before.as_deref() == Some(kind));
    let joined = change("join");
    room.header.joined_change += joined;
    room.header.invited_change += change("invite");
    if joined != 0 && !room.signer.is_local(user_id) {
        let mut servers = ServerChanges::default();
        servers.add(user_id, joined, event_nid);
        room.count_servers(room.db, servers);
    } else if joined > 0 {
        if room.header.other_servers > 0 {
            edus::introduce(room.db, room.nid, vec![user_nid]);
        }
        carry_over(room, &[user_nid]);
    }
}
