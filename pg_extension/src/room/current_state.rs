//! Moves a room's current state to another root: changes the flat rows (`room_state_keys`, `memberships`)
//! where the two states differ.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    base::{
        connection::connect,
        spi::{Db, Mode},
        users,
    },
    outbox::edus,
    room::{Room, graph_events::GraphEvents, predecessor::carry_over, servers::ServerChanges},
    trie::{self, Change},
};

const SET_KEYS: &str = "
    update room_state_keys k
    set current_event_nid = c.event_nid
    from unnest($2, $3) as c (key_idx, event_nid)
    where k.room_nid = $1 and k.key_idx = c.key_idx
    returning case when k.type = 'm.room.member' then k.state_key end as member, k.key_idx";

/// A user whose member event is no longer in the state gets the membership `leave`, so that syncs report it.
const SET_MEMBERSHIPS: &str = "
    with changed as (
        select *
        from unnest($2, $3, $4, $5, $6, $7) as c (user_nid, event_nid, sender, membership, display_name,
            avatar_url)
    ), before as (
        select m.user_nid, m.membership
        from changed c
        cross join lateral (
            select * from memberships where room_nid = $1 and user_nid = c.user_nid offset 0
        ) m
    ), written as (
        insert into memberships (room_nid, user_nid, event_nid, sender_nid, membership, display_name,
            avatar_url)
        select $1, c.user_nid, c.event_nid, s.user_nid, c.membership, c.display_name, c.avatar_url
        from changed c
        cross join lateral (select user_nid from users where user_id = c.sender offset 0) s
        on conflict (room_nid, user_nid) do update
        set event_nid = excluded.event_nid, sender_nid = excluded.sender_nid, xid = excluded.xid,
            membership = excluded.membership, display_name = excluded.display_name,
            avatar_url = excluded.avatar_url, forgotten = memberships.forgotten
                and excluded.membership in ('leave', 'ban')
    )
    select c.user_nid, c.membership, b.membership as membership_before
    from changed c
    left join before b on b.user_nid = c.user_nid";

/// The memberships of these users are now in the room's own state.
const DELETE_OUT_OF_BAND: &str = "delete from out_of_band_memberships
    where room_id = $1 and user_nid = any($2)";

/// Users who are not joined any more do not type.
const STOP_TYPING: &str = "
    update typing
    set typing = false, expires_at = now(), xid = pg_current_xact_id()
    where room_nid = $1 and user_nid = any($2) and typing";

/// The number of changes that one statement writes. It bounds the memory.
const CHUNK: usize = 1_000;

/// Rows of `memberships`, one vector per column.
#[derive(Default)]
struct Memberships {
    user_nids: Vec<i64>,
    event_nids: Vec<i64>,
    senders: Vec<String>,
    memberships: Vec<String>,
    display_names: Vec<Option<String>>,
    avatar_urls: Vec<Option<String>>,
}

impl Room<'_> {
    /// Changes the flat rows from the state `from` to the current state.
    pub(crate) fn follow_state(&mut self, from: i64) {
        let changes = trie::diff(self.db, from, self.header.root);
        let mut joined = Vec::new();
        for changes in changes.chunks(CHUNK) {
            // There may be hundreds of thousands of changes. A connection per chunk frees the memory of its
            // queries.
            connect(Mode::Write, |db| self.follow(db, changes, &mut joined));
        }
        self.forget_state();
        carry_over(self, &joined);
        edus::introduce(self.db, self.nid, joined);
    }

    /// Writes one chunk of changes. Appends the local users who joined to `joined`.
    fn follow(&mut self, db: &Db<'_>, changes: &[Change], joined: &mut Vec<i64>) {
        let events = GraphEvents::new(db);
        let old: HashMap<i32, i64> =
            changes.iter().filter_map(|change| Some((change.key_idx, change.old?))).collect();
        let keys: Vec<i32> = changes.iter().map(|change| change.key_idx).collect();
        let nids: Vec<Option<i64>> = changes.iter().map(|change| change.new).collect();
        let by_key: HashMap<i32, Option<i64>> = keys.iter().copied().zip(nids.iter().copied()).collect();
        let members: Vec<(String, i32)> = db
            .query(SET_KEYS, &[self.nid.into(), keys.into(), nids.into()])
            .filter_map(|row| Some((row.opt("member")?, row.get("key_idx"))))
            .collect();
        if members.is_empty() {
            return;
        }
        events.load(members.iter().filter_map(|(_, key)| by_key[key].or_else(|| old.get(key).copied())));
        let user_ids: Vec<&str> = members.iter().map(|(user_id, _)| user_id.as_str()).collect();
        let user_nids = users::intern(db, &user_ids);
        let mut rows = Memberships::default();
        let mut local_nids = Vec::new();
        for (user_id, key) in &members {
            let Some(nid) = by_key[key].or_else(|| old.get(key).copied()) else { continue };
            let event = &events.get(nid).event;
            let text = |field: &str| {
                let text = event.content().get(field).and_then(Value::as_str);
                text.filter(|text| !text.contains('\0')).map(str::to_owned)
            };
            let membership = by_key[key]
                .and_then(|_| text("membership"))
                .filter(|name| matches!(name.as_str(), "join" | "invite" | "knock" | "leave" | "ban"));
            let user_nid = user_nids[user_id];
            rows.user_nids.push(user_nid);
            rows.event_nids.push(nid);
            rows.senders.push(event.sender().to_owned());
            rows.memberships.push(membership.unwrap_or_else(|| "leave".to_owned()));
            rows.display_names.push(text("displayname"));
            rows.avatar_urls.push(text("avatar_url"));
            if self.signer.is_local(user_id) {
                local_nids.push(user_nid);
            }
        }
        if !local_nids.is_empty() {
            db.execute(DELETE_OUT_OF_BAND, &[self.id.as_str().into(), local_nids.clone().into()]);
            self.wake_users.extend(local_nids);
        }
        let by_nid: HashMap<i64, (&str, i64)> = members
            .iter()
            .map(|(user_id, _)| user_nids[user_id])
            .zip(members.iter().map(|(user_id, _)| user_id.as_str()))
            .zip(&rows.event_nids)
            .map(|((user_nid, user_id), event_nid)| (user_nid, (user_id, *event_nid)))
            .collect();
        let mut servers = ServerChanges::default();
        let mut left: Vec<i64> = Vec::new();
        let written = db.query(
            SET_MEMBERSHIPS,
            &[
                self.nid.into(),
                rows.user_nids.into(),
                rows.event_nids.into(),
                rows.senders.into(),
                rows.memberships.into(),
                rows.display_names.into(),
                rows.avatar_urls.into(),
            ],
        );
        for row in written {
            let (user_nid, now, before): (i64, String, Option<String>) =
                (row.get("user_nid"), row.get("membership"), row.opt("membership_before"));
            let change = |kind: &str| i32::from(now == kind) - i32::from(before.as_deref() == Some(kind));
            self.header.joined_change += change("join");
            self.header.invited_change += change("invite");
            if change("join") < 0 {
                left.push(user_nid);
            }
            let (user_id, event_nid) = by_nid[&user_nid];
            if !self.signer.is_local(user_id) {
                servers.add(user_id, change("join"), event_nid);
            } else if change("join") > 0 {
                joined.push(user_nid);
            }
        }
        if !left.is_empty() {
            db.execute(STOP_TYPING, &[self.nid.into(), left.into()]);
        }
        self.count_servers(db, servers);
    }
}
