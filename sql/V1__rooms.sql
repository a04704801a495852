-- Rooms, events and state, and what other areas refer to: the server, its users, the runs of the database
-- server. Written by functions of the extension only, under the room's row lock (`select … from rooms where
-- room_nid = … for update`), which is taken before any other lock.
--
-- Names that end in _nid are numbers of this database; they never leave the API. 0 is never a valid nid.
-- `xid` columns hold the id of the database transaction that last wrote the row. A sync token is a snapshot;
-- the rows whose xid that snapshot does not see are new since the token.

create table server (
    singleton      boolean primary key default true check (singleton),
    server_name    text collate "C" not null,
    matrix_version text collate "C"
);
comment on table server is 'One row: the server that this database belongs to.';
comment on column server.singleton is 'Always true, so that there is only one row.';
comment on column server.server_name is 'The part of user ids after the colon. It never changes.';
comment on column server.matrix_version is
    'Version of the tables, and checksum of the files, that the schema matrix was made from. NULL: it was '
    'not made yet.';
grant select on server to matriarch_api;

create table signing_keys (
    key_id     text collate "C" primary key,
    seed       bytea not null check (length(seed) = 32),
    created_at timestamptz not null default now(),
    expired_at timestamptz
);
comment on table signing_keys is
    'ed25519 keys by which this server signs events and requests. Only functions that run as the owner read '
    'them.';
comment on column signing_keys.key_id is 'Name of the key in signatures: ed25519:, and a version.';
comment on column signing_keys.seed is 'The secret key: 32 bytes.';
comment on column signing_keys.created_at is 'When the key was made.';
comment on column signing_keys.expired_at is
    'When the key was retired. NULL: the key is in use; the newest of these signs.';

create table generations (
    generation_nid bigint generated always as identity primary key,
    mark           text collate "C" not null unique,
    timeline       text collate "C" not null,
    started_at     timestamptz not null default pg_postmaster_start_time(),
    first_xid      xid8 not null default pg_snapshot_xmin(pg_current_snapshot()),
    xid            xid8 not null default pg_current_xact_id()
);
comment on table generations is
    'Runs of the database server in which something was written. Transaction ids from the newest first_xid '
    'on may have been given out before, to transactions that a crash, a failover or a restore undid: a sync '
    'token of an earlier generation is taken to have seen none of them. Rows are kept; there are a few a '
    'year.';
comment on column generations.generation_nid is 'Ascending in the order of the runs.';
comment on column generations.mark is
    'What sync tokens of the generation begin with. It is made from the system identifier, the timeline of '
    'the WAL and the time of the start.';
comment on column generations.timeline is
    'System identifier of the cluster, and timeline of its write-ahead log.';
comment on column generations.started_at is 'When the database server started.';
comment on column generations.first_xid is
    'No transaction of the generation that wrote anything has an earlier id.';
comment on column generations.xid is 'The transaction that recorded the generation.';

create table users (
    user_nid    bigint generated always as identity primary key,
    user_id     text collate "C" not null unique,
    server_name text collate "C" not null
                generated always as (substr(user_id, strpos(user_id, ':') + 1)) stored
);
comment on table users is 'Every Matrix user that any row refers to, of this server or another.';
comment on column users.user_nid is 'Number of the user here.';
comment on column users.user_id is 'The Matrix id: @, localpart, colon, server name.';
comment on column users.server_name is 'The server name in user_id: what follows the first colon.';
-- user_id: `insert … on conflict do update` needs it to give the row of a user that is there already.
grant select, insert, update (user_id) on users to matriarch_api;

create table rooms (
    room_nid            bigint generated always as identity primary key,
    room_id             text collate "C" not null unique,
    room_version        text collate "C" not null,
    current_root        bigint not null default 0,
    forward_extremities bigint[] not null default '{}',
    depth               bigint not null default 0,
    next_key_idx        integer not null default 0,
    first_pos           bigint not null default 0,
    last_pos            bigint not null default 0,
    notify_seq          bigint not null default 0,
    state_rewrites      bigint not null default 0,
    joined_members      integer not null default 0,
    invited_members     integer not null default 0,
    other_servers       integer not null default 0,
    published           boolean not null default false,
    partial             boolean not null default false,
    created_at          timestamptz not null default now(),
    xid                 xid8 not null default pg_current_xact_id(),
    whole_xid           xid8
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
create index rooms_published on rooms (room_nid) where published;
comment on table rooms is 'Rooms that this server has events of. The row lock is the room''s lock.';
comment on column rooms.room_nid is 'Number of the room here.';
comment on column rooms.room_id is 'The Matrix id of the room.';
comment on column rooms.room_version is 'The room version, as the create event says.';
comment on column rooms.current_root is
    'The current state, as a root of the trie in state_nodes. 0 is the empty state.';
comment on column rooms.forward_extremities is
    'event_nids of the accepted events that no accepted event cites in prev_events yet.';
comment on column rooms.depth is 'Greatest depth of an event of the room. 0: there is none.';
comment on column rooms.next_key_idx is 'The key_idx that the next new state key gets.';
comment on column rooms.first_pos is 'Least events.pos. Backfilled events go below it.';
comment on column rooms.last_pos is 'Greatest events.pos. New events go above it.';
comment on column rooms.notify_seq is
    'How many events of the main timeline notify by the default push rules; see events.notify_seq.';
comment on column rooms.state_rewrites is
    'How often a redaction rewrote a state event of the room. While it stays, what a session remembers of '
    'the events under a root is true.';
comment on column rooms.joined_members is 'How many users are joined.';
comment on column rooms.invited_members is 'How many users are invited.';
comment on column rooms.other_servers is
    'How many other servers have joined members: rows of destination_rooms without left_nid.';
comment on column rooms.published is 'Whether the public room directory lists the room.';
comment on column rooms.partial is
    'Whether members are missing in the room''s states because the answer to a join left them out. The room '
    'has a row of partial_joins then.';
comment on column rooms.created_at is 'When this server first knew the room.';
comment on column rooms.xid is 'Transaction of the newest append: tells a sync that the room has news.';
comment on column rooms.whole_xid is
    'The transaction by which a partial room became whole. Syncs that ask for all members return the room '
    'as new then. NULL: it never was partial, or still is.';
comment on index rooms_published is 'The public room directory.';
grant select on rooms to matriarch_api;

create table room_state_keys (
    room_nid          bigint not null references rooms on delete cascade,
    key_idx           integer not null,
    type              text collate "C" not null,
    state_key         text collate "C" not null,
    current_event_nid bigint,
    primary key (room_nid, key_idx),
    unique (room_nid, type, state_key)
) with (fillfactor = 80);
create index room_state_keys_member_server
on room_state_keys (room_nid, substr(state_key, strpos(state_key, ':') + 1))
where type = 'm.room.member';
comment on table room_state_keys is
    'The state keys of a room, that is its pairs of type and state_key, numbered in the order of first use. '
    'It also holds the current state as flat rows.';
comment on column room_state_keys.room_nid is 'The room.';
comment on column room_state_keys.key_idx is 'Number of the state key in its room, from 0 without gaps.';
comment on column room_state_keys.type is 'The event type.';
comment on column room_state_keys.state_key is 'The state_key. It may be empty.';
comment on column room_state_keys.current_event_nid is
    'The event that holds this state key in the current state. NULL: the current state has none.';
comment on index room_state_keys_member_server is 'The members that a server has, or had, in a room.';

create table state_nodes (
    node_id  bigint generated always as identity primary key,
    room_nid bigint not null references rooms on delete cascade,
    hash     bytea not null check (length(hash) = 16),
    level    smallint not null,
    kids     bigint[] not null,
    unique (room_nid, hash)
);
comment on table state_nodes is
    'Nodes of a persistent, content-addressed radix-32 trie from key_idx to event_nid. Rows are inserted '
    'and never changed. Rows that no events.state_before and no rooms.current_root reaches may be deleted.';
comment on column state_nodes.node_id is
    'Number of the node. A root of a state is the node_id of its topmost node.';
comment on column state_nodes.room_nid is 'The room. Rooms share no nodes.';
comment on column state_nodes.hash is
    'First 16 bytes of SHA-256 over level and kids: equal states of a room have equal roots.';
comment on column state_nodes.level is
    '0 for leaves, whose kids are event_nids; n for inner nodes, whose kids are node_ids of level n - 1.';
comment on column state_nodes.kids is
    'Up to 32 children; NULLs at the end are left out. NULL where the state key has no event.';

create domain event_status as smallint check (value between 0 and 3);
comment on domain event_status is
    'What was decided about a stored event: 0 accepted, 1 soft-failed, 2 rejected, 3 outlier (not judged by '
    'the state before it). Queries name them by the functions accepted(), soft_failed(), rejected() and '
    'outlier().';

create sequence event_nids as bigint cache 1;
comment on sequence event_nids is
    'Gives events their event_nid. cache 1 always: an event''s auth events must have smaller nids, whatever '
    'session stored them.';

create table events (
    event_nid        bigint primary key default nextval('event_nids'),
    room_nid         bigint not null,
    pos              bigint,
    depth            bigint not null,
    origin_server_ts bigint not null,
    sender_nid       bigint not null,
    state_before     bigint,
    room_root        bigint,
    redacted_by      bigint,
    device_nid       bigint,
    thread_root_nid  bigint,
    notify_seq       bigint not null default 0,
    xid              xid8 not null default pg_current_xact_id(),
    key_idx          integer,
    status           event_status not null default 0,
    notifies         boolean not null default false,
    superseded       boolean not null default false,
    state_given      boolean not null default false,
    outgoing         boolean not null default false,
    event_id         text collate "C" not null unique,
    type             text collate "C" not null,
    txn_id           text collate "C",
    status_reason    text,
    prev_nids        bigint[] not null,
    auth_nids        bigint[] not null,
    mentions         text[] collate "C",
    json             text collate "C" not null,
    -- The timeline has accepted events only.
    check (pos is null or status = 0)
) with (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
alter sequence event_nids owned by events.event_nid;
create index events_timeline on events (room_nid, pos) where pos is not null;
create index events_by_time on events (room_nid, origin_server_ts, pos) where pos is not null;
create index events_txn on events (device_nid, txn_id) where txn_id is not null;
create index events_thread on events (thread_root_nid, pos) where thread_root_nid is not null;
create index events_threaded on events (room_nid, pos) where thread_root_nid is not null;
create index events_mentions on events (room_nid, pos) where mentions is not null;
create index events_sender on events (sender_nid, room_nid, pos)
where pos is not null and thread_root_nid is null;
-- Status 1 and 2 are soft-failed and rejected.
create index events_not_accepted on events (room_nid, event_nid) where status in (1, 2);
-- Status 0 and 3 are accepted and outlier. An accepted event without a position is a fault that
-- matrix.verify_room finds.
create index events_outliers on events (room_nid, event_nid) where pos is null and status in (0, 3);
create index events_outgoing on events (room_nid, event_nid) where outgoing;
comment on table events is
    'Every event known, also rejected ones and outliers. event_nid is monotone over auth edges: an event is '
    'stored after all its auth events.';
comment on column events.event_nid is
    'Number of the event here. It is greater than those of its auth events.';
comment on column events.room_nid is
    'The room. No foreign key: the append holds the room''s lock, and the check would cost each event a '
    'query.';
comment on column events.pos is
    'Position in the room''s timeline, in the order that clients see; steps leave room for events found '
    'later. NULL: not in the timeline.';
comment on column events.depth is 'The depth that the event claims.';
comment on column events.origin_server_ts is 'Milliseconds since 1970, as the sender''s server claims.';
comment on column events.sender_nid is 'The user who sent the event.';
comment on column events.state_before is
    'State before the event, as a root in state_nodes. 0 is the empty state. NULL: unknown, never empty.';
comment on column events.room_root is
    'The room''s current state just after the event was stored, as a root in state_nodes, where other '
    'branches make it differ from the state after the event. NULL: it is that state, or the event is not in '
    'the timeline.';
comment on column events.redacted_by is
    'The redaction that was applied to the event; json is then the redacted form. NULL: not redacted.';
comment on column events.device_nid is
    'The local device that sent the event with txn_id, which makes sending idempotent. NULL: no transaction '
    'id was given.';
comment on column events.thread_root_nid is
    'The event that it relates to by m.thread, if that is in the room. NULL: not in a thread.';
comment on column events.notify_seq is
    'rooms.notify_seq after this event: unread counts are differences of it.';
comment on column events.xid is 'The transaction that stored it, or last changed what clients see of it.';
comment on column events.key_idx is
    'The state key, in room_state_keys, of a state event. NULL: a message event, or a rejected event.';
comment on column events.status is 'Accepted, soft-failed, rejected or outlier: see the domain event_status.';
comment on column events.notifies is
    'Whether it notifies members other than the sender, by the default push rules.';
comment on column events.superseded is
    'Of soft-failed and rejected events: an accepted event cites it, directly or through others that were '
    'not accepted.';
comment on column events.state_given is
    'Whether state_before was given with the event because its prev_events could not be obtained. It stays, '
    'also once they are here, whatever they resolve to.';
comment on column events.outgoing is
    'Whether this server sends it to the other servers of the room: its own events, made while there were '
    'others, and those that joining, knocking and leaving servers leave to it.';
comment on column events.event_id is 'The Matrix id of the event.';
comment on column events.type is 'The event type.';
comment on column events.txn_id is 'Transaction id that the device sent it with. NULL: none was given.';
comment on column events.status_reason is 'Why it was not accepted, in words. NULL for accepted events.';
comment on column events.prev_nids is 'event_nids of its prev_events, as far as they are in the graph.';
comment on column events.auth_nids is 'event_nids of its auth_events, as far as they are stored.';
comment on column events.mentions is
    'User ids of m.mentions that this server knows; @room for a permitted mention of all, and for '
    'tombstones. NULL: nobody is mentioned.';
comment on column events.json is
    'The event as signed, in canonical JSON, without unsigned. Text and not jsonb: jsonb refuses \u0000 and '
    'folds numbers.';
comment on index events_timeline is 'The timeline of a room.';
comment on index events_by_time is 'The event closest to a time.';
comment on index events_txn is 'The event that a device sent by a transaction id.';
comment on index events_thread is 'The events of a thread.';
comment on index events_threaded is 'Unread events in threads.';
comment on index events_mentions is 'Unread highlights.';
comment on index events_sender is 'A user''s own last event: everything up to it has been read.';
comment on index events_not_accepted is 'Soft-failed and rejected events of a room, newest last.';
comment on index events_outliers is
    'Outliers. With events_timeline and events_not_accepted, all events of a room.';
comment on index events_outgoing is 'The events of a room that are sent to other servers.';
-- Nodes look for new events once a second.
grant select (event_nid, room_nid, xid) on events to matriarch_api;

create table event_auth_edges (
    auth_nid  bigint not null,
    event_nid bigint not null,
    primary key (auth_nid, event_nid),
    check (auth_nid < event_nid)
);
comment on table event_auth_edges is
    'Which events cite an event in auth_events; accepted state events only, so that a search upward stays '
    'small. The direction downward is events.auth_nids. No foreign keys: edges are written with their '
    'events, under the room''s lock, and the checks cost more than the edges.';
comment on column event_auth_edges.auth_nid is 'The event that is cited.';
comment on column event_auth_edges.event_nid is 'The event that cites it.';

create table missing_prev_events (
    room_nid      bigint not null references rooms on delete cascade,
    prev_event_id text collate "C" not null,
    event_nid     bigint not null,
    primary key (room_nid, prev_event_id, event_nid)
);
create index missing_prev_events_event on missing_prev_events (event_nid);
comment on table missing_prev_events is
    'prev_events of stored events that are not in the graph themselves: the backward extremities. A row is '
    'deleted when the event is stored; events.prev_nids has it then.';
comment on column missing_prev_events.room_nid is 'The room.';
comment on column missing_prev_events.prev_event_id is 'The Matrix id of the event that is missing.';
comment on column missing_prev_events.event_nid is
    'The stored event that cites it. No foreign key: events are stored and purged under the room''s lock.';
comment on index missing_prev_events_event is 'Whether something is missing before an event.';

create table missing_redacted_events (
    room_nid      bigint not null references rooms on delete cascade,
    event_id      text collate "C" not null,
    redaction_nid bigint not null,
    primary key (room_nid, event_id, redaction_nid)
);
comment on table missing_redacted_events is
    'Targets of accepted redactions that are not stored yet. A row is deleted when the event is stored.';
comment on column missing_redacted_events.room_nid is 'The room.';
comment on column missing_redacted_events.event_id is 'The Matrix id of the target.';
comment on column missing_redacted_events.redaction_nid is 'The redaction.';

create table events_without_successor (
    event_nid  bigint primary key,
    room_nid   bigint not null references rooms on delete cascade,
    event_id   text collate "C" not null unique,
    created_at timestamptz not null default now()
);
create index events_without_successor_room on events_without_successor (room_nid);
comment on table events_without_successor is
    'Backfilled events that no event of the timeline is known to follow. If one is received as a new event '
    'after all, it gets a new position and becomes a forward extremity. A row is deleted then, when an '
    'event of the timeline cites the event, and by the nodes'' housekeeping after 30 days.';
comment on column events_without_successor.event_nid is 'The event.';
comment on column events_without_successor.room_nid is 'The room.';
comment on column events_without_successor.event_id is 'The Matrix id of the event.';
comment on column events_without_successor.created_at is 'When the event was backfilled.';
comment on index events_without_successor_room is 'For the deletion of a room.';
grant select, delete on events_without_successor to matriarch_api;

create table state_resolutions (
    room_nid bigint not null references rooms on delete cascade,
    roots    bigint[] not null,
    root     bigint not null,
    primary key (room_nid, roots)
);
comment on table state_resolutions is
    'Results of state resolution, so that none is computed twice. Rows may be deleted at any time.';
comment on column state_resolutions.room_nid is 'The room.';
comment on column state_resolutions.roots is 'Roots of the states that were resolved, ascending, each once.';
comment on column state_resolutions.root is 'Root of the resolved state. 0 is the empty state.';

create table memberships (
    room_nid     bigint not null references rooms on delete cascade,
    user_nid     bigint not null references users,
    event_nid    bigint not null,
    sender_nid   bigint not null,
    xid          xid8 not null default pg_current_xact_id(),
    membership   text collate "C" not null check (membership in ('join', 'invite', 'knock', 'leave', 'ban')),
    forgotten    boolean not null default false,
    display_name text,
    avatar_url   text,
    primary key (room_nid, user_nid)
) with (fillfactor = 80);
create index memberships_user on memberships (user_nid, membership);
comment on table memberships is
    'The m.room.member events of the current state as flat rows, kept in step with room_state_keys.';
comment on column memberships.room_nid is 'The room.';
comment on column memberships.user_nid is 'The user whose membership it is.';
comment on column memberships.event_nid is 'The m.room.member event.';
comment on column memberships.sender_nid is 'The user who sent it.';
comment on column memberships.xid is 'The transaction that last changed the row.';
comment on column memberships.membership is 'join, invite, knock, leave or ban.';
comment on column memberships.forgotten is 'Whether the user forgot the room after leaving it.';
comment on column memberships.display_name is 'displayname in the event. NULL: it has none.';
comment on column memberships.avatar_url is 'avatar_url in the event. NULL: it has none.';
comment on index memberships_user is 'The rooms of a user, by membership.';
grant select on memberships to matriarch_api;

create table membership_changes (
    room_nid  bigint not null references rooms on delete cascade,
    change_id bigint not null generated always as identity,
    user_nid  bigint not null references users,
    xid       xid8 not null default pg_current_xact_id(),
    joined    boolean not null,
    primary key (room_nid, change_id)
);
create index membership_changes_room on membership_changes (room_nid, xid);
create index membership_changes_user on membership_changes (user_nid, xid);
comment on table membership_changes is
    'When users joined rooms and ceased to be joined. Triggers of memberships write it. It tells whether a '
    'user was joined when a sync token was made: the opposite of the first change after it or, if there is '
    'none, what memberships says. Rows are deleted with the room.';
comment on column membership_changes.room_nid is 'The room.';
comment on column membership_changes.change_id is 'Ascending in the order of the changes of a room.';
comment on column membership_changes.user_nid is 'The user.';
comment on column membership_changes.xid is 'The transaction of the change.';
comment on column membership_changes.joined is 'Whether the user is joined from the change on.';
comment on index membership_changes_room is 'The changes of a room since a sync token.';
comment on index membership_changes_user is 'The changes of a user since a sync token.';

create function note_membership_change() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        insert into membership_changes (room_nid, user_nid, joined)
        values (old.room_nid, old.user_nid, false);
    else
        insert into membership_changes (room_nid, user_nid, joined)
        values (new.room_nid, new.user_nid, new.membership = 'join');
    end if;
    return null;
end
$$;
comment on function note_membership_change is
    'Trigger of memberships: records in membership_changes who is joined from now on.';
revoke all on function note_membership_change from public;
create trigger membership_inserted after insert on memberships
for each row when (new.membership = 'join')
execute function note_membership_change();
create trigger membership_updated after update on memberships
for each row when ((old.membership = 'join') <> (new.membership = 'join'))
execute function note_membership_change();
create trigger membership_deleted after delete on memberships
for each row when (old.membership = 'join')
execute function note_membership_change();

create table room_aliases (
    room_alias  text collate "C" primary key,
    room_nid    bigint not null references rooms on delete cascade,
    creator_nid bigint not null references users,
    created_at  timestamptz not null default now()
);
create index room_aliases_room on room_aliases (room_nid);
comment on table room_aliases is
    'Aliases of this server. m.room.canonical_alias is something else: a state event.';
comment on column room_aliases.room_alias is 'The alias: #, localpart, colon, server name.';
comment on column room_aliases.room_nid is 'The room that it names.';
comment on column room_aliases.creator_nid is 'The user who made it.';
comment on column room_aliases.created_at is 'When it was made.';
comment on index room_aliases_room is 'The aliases of a room.';
grant select on room_aliases to matriarch_api;
