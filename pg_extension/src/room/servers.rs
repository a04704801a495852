//! Counts the joined members of other servers in a room, and marks what these servers are to be sent.

use std::collections::{BTreeMap, HashSet};

use matriarch_rules::{Event, identifiers::server_name, server_acl};
use serde_json::Value;

use crate::{
    base::spi::{Db, Row},
    outbox::{SENDERS, edus},
    room::{Room, parse_stored},
};

const ADD_SERVERS: &str = "
    insert into destinations (server_name)
    select wanted.server_name
    from unnest($1) as wanted (server_name)
    where not exists (select from destinations d where d.server_name = wanted.server_name)
    order by 1
    on conflict (server_name) do nothing";

/// A server that joins is sent what is newer than `$5`; `$6` says whether such events exist already. A server
/// that leaves is sent what is older than the event by which it leaves, and that event if this server is to
/// send it.
const COUNT: &str = "
    with changes as (
        select d.destination_nid, c.change, c.last_nid
        from unnest($2, $3, $4) as c (server_name, change, last_nid)
        cross join lateral (
            select destination_nid from destinations where server_name = c.server_name offset 0
        ) d
    ),
    locked as (
        select r.*
        from changes c
        join destination_rooms r on r.destination_nid = c.destination_nid and r.room_nid = $1
        order by r.destination_nid
        for update of r
    ),
    changed as (
        update destination_rooms r
        set joined_members = greatest(l.joined_members + c.change, 0),
            sent_nid = case when l.left_nid is not null and c.change > 0 then $5 else l.sent_nid end,
            left_nid = case when l.joined_members + c.change <= 0 then coalesce(l.left_nid, c.last_nid) end,
            pending_since = case
                -- The row of a server that leaves is pending in any case: the sender deletes it when
                -- everything was sent.
                when l.joined_members + c.change <= 0 or (l.left_nid is not null and $6)
                    then coalesce(l.pending_since, now())
                else l.pending_since
            end
        from locked l
        join changes c on c.destination_nid = l.destination_nid
        where r.destination_nid = l.destination_nid and r.room_nid = l.room_nid
    )
    insert into destination_rooms (destination_nid, room_nid, joined_members, sent_nid, pending_since)
    select c.destination_nid, $1, c.change, $5, case when $6 then now() end
    from changes c
    where c.change > 0 and not exists (select from locked l where l.destination_nid = c.destination_nid)
    order by c.destination_nid";

const SET_OTHER_SERVERS: &str = "
    update rooms
    set other_servers = n.servers
    from (select count(*) as servers from destination_rooms where room_nid = $1 and left_nid is null) n
    where room_nid = $1
    returning other_servers";

/// The resident server distributes the join of a local user that came with a whole room. So such a join is
/// not sent.
const SENDERS_OF: &str = "
    select e.event_nid, u.user_id
    from unnest($1) as extremity (event_nid)
    cross join lateral (
        select event_nid, sender_nid
        from events
        where event_nid = extremity.event_nid and status = accepted()
            and (outgoing or xid <> pg_current_xact_id())
        offset 0
    ) e
    join users u on u.user_nid = e.sender_nid";

/// Marks events that were made while no other server was in the room.
const SET_OUTGOING: &str = "update events set outgoing = true where event_nid = any($1) and not outgoing";

/// SQL: whether a user of a server has one of these memberships. The arguments are SQL expressions of the
/// `room_nid`, the server name and the memberships. The comparison of servers is the expression of the index
/// of `room_state_keys`. `offset 0` holds the planner to one look-up per member.
macro_rules! has_member {
    ($room_nid:literal, $server_name:literal, $memberships:literal) => {
        concat!(
            "exists (
                select
                from room_state_keys k
                cross join lateral (select user_nid from users where user_id = k.state_key offset 0) u
                cross join lateral (
                    select membership from memberships
                    where room_nid = k.room_nid and user_nid = u.user_nid offset 0
                ) m
                where k.room_nid = ",
            $room_nid,
            " and k.type = 'm.room.member' and substr(k.state_key, strpos(k.state_key, ':') + 1) = ",
            $server_name,
            " and m.membership in (",
            $memberships,
            ")
            )"
        )
    };
}
pub(crate) use has_member;

const HAS_JOINED_MEMBER: &str = concat!("select where ", has_member!("$1", "$2", "'join'"));

/// The servers that the resident server named, while the room is partial.
const IS_PRESUMED: &str = "
    select from partial_joins where room_nid = $1 and $2 = any(servers)";

const CLOSING: &str = "
    select wanted.room_nid, k.type, e.json
    from unnest($1) as wanted (room_nid)
    cross join lateral (
        select type, current_event_nid
        from room_state_keys
        where room_nid = wanted.room_nid and type in ('m.room.create', 'm.room.server_acl') and state_key = ''
        offset 0
    ) k
    join events e on e.event_nid = k.current_event_nid";

/// The rooms of these that another server can never join: its access control list denies it, or the room
/// does not federate.
pub fn closed_to(db: &Db<'_>, server_name: &str, room_nids: &[i64]) -> HashSet<i64> {
    let is_closed = |row: &Row<'_>| {
        let event = parse_stored(&row.get::<String>("json"));
        let content = event.get("content").and_then(Value::as_object);
        content.is_some_and(|content| match row.get::<String>("type").as_str() {
            "m.room.create" => content.get("m.federate") == Some(&Value::Bool(false)),
            _ => !server_acl::admits(content, server_name),
        })
    };
    let rows = db.query(CLOSING, &[room_nids.to_vec().into()]);
    rows.filter(is_closed).map(|row| row.get("room_nid")).collect()
}

const HAS_MEMBER: &str = "select from memberships where room_nid = $1 and membership = 'join' limit 1";

/// Changes in the numbers of joined members of other servers.
#[derive(Debug, Default)]
pub struct ServerChanges {
    /// The change in the number of joined members, and the newest event that contributes to it, by server
    /// name.
    by_server: BTreeMap<String, (i32, i64)>,
}

impl ServerChanges {
    /// Adds the join (`change` is 1) or leave (-1) of a remote user by this event.
    pub fn add(&mut self, user_id: &str, change: i32, event_nid: i64) {
        if let Some(server) = server_name(user_id).filter(|_| change != 0) {
            self.add_server(server, change, event_nid);
        }
    }

    /// Like [`ServerChanges::add`], with the user's server.
    pub fn add_server(&mut self, server: &str, change: i32, event_nid: i64) {
        let (sum, last) = self.by_server.entry(server.to_owned()).or_insert((0, event_nid));
        *sum += change;
        *last = event_nid.max(*last);
    }
}

impl Room<'_> {
    /// Whether a user of the server is joined.
    pub fn has_joined_member_of(&self, server_name: &str) -> bool {
        let is_found =
            |sql: &'static str| self.db.query_opt(sql, &[self.nid.into(), server_name.into()]).is_some();
        is_found(HAS_JOINED_MEMBER) || (self.header.partial && is_found(IS_PRESUMED))
    }

    /// Whether only other servers have the room's current state: remote users are joined, and no local user
    /// is.
    pub fn is_elsewhere(&self) -> bool {
        // Members of a partial room may be unknown, but all local ones are known.
        let has_member =
            || self.header.partial || self.db.query_opt(HAS_MEMBER, &[self.nid.into()]).is_some();
        self.header.root == 0 || (!self.has_joined_member_of(&self.signer.server_name) && has_member())
    }

    /// Whether the event being appended is to be sent to other servers. If so, the room is marked as pending
    /// when it is stored.
    pub(crate) fn mark_outgoing(&mut self) -> bool {
        let outgoing = self.header.other_servers > 0;
        if outgoing && !self.header.outgoing {
            self.header.outgoing = true;
            self.wake_users.push(SENDERS);
        }
        outgoing
    }

    /// Updates the numbers of joined members. The events must be written and the room locked.
    pub(crate) fn count_servers(&mut self, db: &Db<'_>, changes: ServerChanges) {
        let changes: Vec<_> = changes.by_server.into_iter().filter(|(_, (change, _))| *change != 0).collect();
        if changes.is_empty() {
            return;
        }
        let servers: Vec<&str> = changes.iter().map(|(server, _)| server.as_str()).collect();
        db.execute(ADD_SERVERS, &[servers.clone().into()]);
        let comes_in = changes.iter().any(|(_, (change, _))| *change > 0);
        let (sent_nid, is_pending) = if comes_in { self.newcomers(db) } else { (0, false) };
        let args = [
            self.nid.into(),
            servers.clone().into(),
            changes.iter().map(|(_, (change, _))| *change).collect::<Vec<_>>().into(),
            changes.iter().map(|(_, (_, last))| *last).collect::<Vec<_>>().into(),
            sent_nid.into(),
            is_pending.into(),
        ];
        db.execute(COUNT, &args);
        let row = db.query_one(SET_OTHER_SERVERS, &[self.nid.into()]);
        self.header.other_servers = row.get("other_servers");
        edus::welcome(db, self.nid, servers);
    }

    /// The nid up to which servers that join now count as having been sent everything, and whether there are
    /// newer events for them. A local event that is a forward extremity was made before the join was known
    /// here, so the join does not cite it: it must be sent. The new server fetches older events by itself.
    fn newcomers(&mut self, db: &Db<'_>) -> (i64, bool) {
        let extremity_nids = self.header.extremities.iter().map(|extremity| extremity.nid);
        let extremity_nids: Vec<i64> =
            extremity_nids.chain(self.header.extremity_nids.iter().copied()).collect();
        let newest = extremity_nids.iter().copied().max().unwrap_or_default();
        let senders = db
            .query(SENDERS_OF, &[extremity_nids.into()])
            .map(|row| (row.get("event_nid"), row.get::<String>("user_id")));
        let local_nids: Vec<i64> =
            senders.filter(|(_, sender)| self.signer.is_local(sender)).map(|(nid, _)| nid).collect();
        let Some(oldest) = local_nids.iter().copied().min() else { return (newest, false) };
        db.execute(SET_OUTGOING, &[local_nids.into()]);
        self.wake_users.push(SENDERS);
        (oldest - 1, true)
    }
}

/// As if the server's last member left by this event: the server is sent this event and nothing else.
const SEND_OUT_OF_BAND: &str = "
    insert into destination_rooms (destination_nid, room_nid, joined_members, sent_nid, left_nid,
        pending_since)
    select destination_nid, $1, 0, $3 - 1, $3, now()
    from destinations
    where server_name = $2
    on conflict (destination_nid, room_nid) do nothing";

impl Room<'_> {
    /// The other server whose invited or knocking user loses that membership by this event, which is about to
    /// be appended.
    pub(crate) fn out_of_band_server(&mut self, event: &Event) -> Option<String> {
        let target = event.state_key().filter(|_| event.event_type() == "m.room.member")?;
        let membership = event.content().get("membership").and_then(Value::as_str);
        if self.signer.is_local(target) || !matches!(membership, Some("leave" | "ban")) {
            return None;
        }
        let (before, _) = self.membership(target)?;
        matches!(before.as_str(), "invite" | "knock").then(|| server_name(target).map(str::to_owned))?
    }

    /// Sends an event to a server that is not in the room. A server in the room gets it anyway, and one that
    /// just left can fetch it.
    pub(crate) fn send_out_of_band(&mut self, server: &str, event_nid: i64) {
        self.db.execute(ADD_SERVERS, &[vec![server].into()]);
        if self.db.execute(SEND_OUT_OF_BAND, &[self.nid.into(), server.into(), event_nid.into()]) > 0 {
            self.wake_users.push(SENDERS);
        }
    }
}

/// Like [`COUNT`], with the new numbers instead of changes.
const SET_MEMBERS: &str = "
    insert into destination_rooms as r (destination_nid, room_nid, joined_members, sent_nid)
    select d.destination_nid, $1, c.members,
        (select coalesce(max(event_nid), 0) from events where room_nid = $1 and outgoing)
    from unnest($2, $3) as c (server_name, members)
    cross join lateral (select destination_nid from destinations where server_name = c.server_name offset 0) d
    order by d.destination_nid
    on conflict (destination_nid, room_nid) do update
    set joined_members = excluded.joined_members,
        left_nid = case when excluded.joined_members = 0 then coalesce(r.left_nid, excluded.sent_nid) end,
        pending_since = case when excluded.joined_members = 0 then coalesce(r.pending_since, now())
            else r.pending_since end";

/// Sets the numbers of joined members by server. The room must be locked.
pub fn set_members(db: &Db<'_>, room_nid: i64, members: Vec<(String, i64)>) {
    let (servers, counts): (Vec<String>, Vec<i32>) =
        members.into_iter().map(|(server, count)| (server, count as i32)).unzip();
    db.execute(ADD_SERVERS, &[servers.clone().into()]);
    db.execute(SET_MEMBERS, &[room_nid.into(), servers.into(), counts.into()]);
    db.execute(SET_OTHER_SERVERS, &[room_nid.into()]);
}
