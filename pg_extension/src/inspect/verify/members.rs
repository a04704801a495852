//! Checks `memberships` against the current state.

use std::collections::{BTreeMap, HashMap};

use matriarch_rules::identifiers::server_name;
use serde_json::Value;

use super::{Verifier, View, report::Finding};
use crate::room::graph_events::GraphEvent;

const MEMBERS: &str = "
    select u.user_id, m.event_nid, s.user_id as sender, m.membership, m.display_name, m.avatar_url
    from unnest($2) as wanted (user_id)
    cross join lateral (select * from users where user_id = wanted.user_id offset 0) u
    cross join lateral (select * from memberships where room_nid = $1 and user_nid = u.user_nid offset 0) m
    left join users s on s.user_nid = m.sender_nid";

const SET_MEMBER: &str = "
    with interned as (
        insert into users (user_id) select distinct wanted from unnest(array[$2, $3]) wanted order by wanted
        on conflict (user_id) do update set user_id = excluded.user_id
        returning user_nid, user_id
    )
    insert into memberships (room_nid, user_nid, event_nid, sender_nid, membership, display_name, avatar_url)
    select $1, u.user_nid, $4, s.user_nid, $5, $6, $7
    from interned u, interned s
    where u.user_id = $2 and s.user_id = $3
    on conflict (room_nid, user_nid) do update
    set event_nid = excluded.event_nid, sender_nid = excluded.sender_nid, xid = excluded.xid,
        membership = excluded.membership, display_name = excluded.display_name,
        avatar_url = excluded.avatar_url,
        forgotten = memberships.forgotten and excluded.membership in ('leave', 'ban')";

const SET_LEFT: &str = "
    update memberships
    set membership = 'leave', xid = pg_current_xact_id()
    where room_nid = $1 and user_nid = (select user_nid from users where user_id = $2)";

/// Rows of users of whom the room never had a member event.
const WITHOUT_EVENT: &str = "
    select u.user_id, m.membership
    from memberships m
    join users u on u.user_nid = m.user_nid
    where m.room_nid = $1 and not exists (
        select from room_state_keys k
        where k.room_nid = m.room_nid and k.type = 'm.room.member' and k.state_key = u.user_id
    )";

const REMOVE_MEMBER: &str = "
    delete from memberships
    where room_nid = $1 and user_nid = (select user_nid from users where user_id = $2)";

/// A row of `memberships`.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    event_nid: i64,
    sender: String,
    membership: String,
    display_name: Option<String>,
    avatar_url: Option<String>,
}

/// Numbers of members by the current state.
#[derive(Default)]
pub struct Counts {
    pub joined: i64,
    pub invited: i64,
    /// The numbers of joined members by other server.
    pub servers: BTreeMap<String, i64>,
}

impl Verifier {
    /// Checks the rows of these users, whose member events in the current state are given, and counts the
    /// members.
    pub fn check_members(
        &mut self,
        view: &View<'_, '_>,
        members: &[(String, Option<i64>)],
        counts: &mut Counts,
    ) {
        let (db, room_nid, events) = (view.room.db, view.room.nid, view.graph.events);
        events.load(members.iter().filter_map(|(_, nid)| *nid));
        let user_ids: Vec<&str> = members.iter().map(|(user_id, _)| user_id.as_str()).collect();
        let rows = db.query(MEMBERS, &[room_nid.into(), user_ids.into()]);
        let mut stored: HashMap<String, Member> = rows
            .map(|row| {
                let member = Member {
                    event_nid: row.get("event_nid"),
                    sender: row.opt("sender").unwrap_or_default(),
                    membership: row.get("membership"),
                    display_name: row.opt("display_name"),
                    avatar_url: row.opt("avatar_url"),
                };
                (row.get("user_id"), member)
            })
            .collect();
        for (user_id, nid) in members {
            let found = stored.remove(user_id);
            let Some(nid) = nid else {
                // A user whose member event is no longer in the state counts as `leave`.
                let Some(found) = found.filter(|found| found.membership != "leave") else { continue };
                let finding = Finding::new("memberships").subject(user_id).found(found.membership);
                if self.report.add(finding.expected("leave").action("set")) {
                    db.execute(SET_LEFT, &[room_nid.into(), user_id.as_str().into()]);
                }
                continue;
            };
            if self.damaged.contains(nid) {
                continue;
            }
            let expected = member_of(&events.get(*nid));
            if expected.membership == "join" {
                counts.joined += 1;
                if let Some(server) = server_name(user_id).filter(|_| !view.room.signer.is_local(user_id)) {
                    *counts.servers.entry(server.to_owned()).or_default() += 1;
                }
            }
            counts.invited += i64::from(expected.membership == "invite");
            if found.as_ref() == Some(&expected) {
                continue;
            }
            let words = |member: &Member| {
                let Member { membership, sender, display_name, avatar_url, event_nid } = member;
                let event_id = events.get(*event_nid).event.event_id().to_owned();
                let name = display_name.as_deref().unwrap_or_default();
                format!(
                    "{membership} by {sender} ({event_id}), {name:?} {}",
                    avatar_url.as_deref().unwrap_or_default()
                )
            };
            let finding = Finding::new("memberships").subject(user_id).expected(words(&expected));
            let finding = finding.found(found.as_ref().map_or_else(|| "no row".to_owned(), words));
            if self.report.add(finding.action("set")) {
                db.execute(
                    SET_MEMBER,
                    &[
                        room_nid.into(),
                        user_id.as_str().into(),
                        expected.sender.into(),
                        expected.event_nid.into(),
                        expected.membership.into(),
                        expected.display_name.into(),
                        expected.avatar_url.into(),
                    ],
                );
            }
        }
    }

    /// Checks that every row of `memberships` belongs to a user of whom the room had a member event.
    pub fn check_members_without_event(&mut self, view: &View<'_, '_>) {
        let (db, room_nid) = (view.room.db, view.room.nid);
        for row in db.query(WITHOUT_EVENT, &[room_nid.into()]) {
            let (user_id, membership): (String, String) = (row.get("user_id"), row.get("membership"));
            let finding = Finding::new("memberships").subject(&user_id).found(membership);
            if self.report.add(finding.expected("no row").action("removed")) {
                db.execute(REMOVE_MEMBER, &[room_nid.into(), user_id.into()]);
            }
        }
    }
}

/// The row of `memberships` that follows from a member event.
fn member_of(event: &GraphEvent) -> Member {
    let text = |field: &str| {
        let text = event.event.content().get(field).and_then(Value::as_str);
        text.filter(|text| !text.contains('\0')).map(str::to_owned)
    };
    let membership = text("membership");
    let membership =
        membership.filter(|name| matches!(name.as_str(), "join" | "invite" | "knock" | "leave" | "ban"));
    Member {
        event_nid: event.nid,
        sender: event.event.sender().to_owned(),
        membership: membership.unwrap_or_else(|| "leave".to_owned()),
        display_name: text("displayname"),
        avatar_url: text("avatar_url"),
    }
}
