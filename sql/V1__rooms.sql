-- Rooms, events and state. Written by the extension's functions only, under the room's row lock
-- (`select … from rooms where room_nid = … for update`), which is taken before any other lock.
--
-- Names ending in _nid are numeric ids; they never leave the API. 0 is never a valid nid.
-- `xid` columns hold the id of the transaction that last wrote the row: a sync token is a snapshot, and
-- what is new since a token are the rows whose xid that snapshot does not see.

create table server (
    singleton   boolean primary key default true check (singleton),
    server_name text collate "C" not null
);
comment on table server is 'One row: the server name that this database belongs to. Never changes.';

create table signing_keys (
    key_id     text collate "C" primary key,
    seed       bytea not null check (length(seed) = 32),
    created_at timestamptz not null default now(),
    expired_at timestamptz
);
comment on table signing_keys is 'ed25519 keys that sign our events. Readable by functions of the owner only.';
comment on column signing_keys.expired_at is 'Absent for keys in use; the newest of these signs.';

create table users (
    user_nid bigint generated always as identity primary key,
    user_id  text collate "C" not null unique
);
comment on table users is 'Every Matrix user that any row mentions, of this server or another.';

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
    joined_members      integer not null default 0,
    invited_members     integer not null default 0,
    published           boolean not null default false,
    created_at          timestamptz not null default now(),
    xid                 xid8 not null default pg_current_xact_id()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
create index rooms_published on rooms (room_nid) where published;
comment on table rooms is 'One row a room. Its row lock is the room''s append lock.';
comment on column rooms.current_root is 'State now, as a root of the trie in state_nodes; 0 is the empty state.';
comment on column rooms.forward_extremities is 'event_nids that no event in the room cites as prev_events yet.';
comment on column rooms.depth is 'Greatest depth of an event in the room.';
comment on column rooms.next_key_idx is 'The key_idx that the next unseen (type, state_key) gets.';
comment on column rooms.first_pos is 'Least events.pos; backfilled events go below it.';
comment on column rooms.last_pos is 'Greatest events.pos; new events go above it.';
comment on column rooms.notify_seq is 'How many events of the main timeline notify by the default push rules; see events.notify_seq.';
comment on column rooms.published is 'Listed in the public room directory.';
comment on column rooms.xid is 'Transaction of the newest append: tells a sync that the room has news.';

create table room_state_keys (
    room_nid          bigint not null references rooms on delete cascade,
    key_idx           integer not null,
    type              text collate "C" not null,
    state_key         text collate "C" not null,
    current_event_nid bigint,
    primary key (room_nid, key_idx),
    unique (room_nid, type, state_key)
) with (fillfactor = 80);
comment on table room_state_keys is 'The dense index of a room''s (type, state_key) pairs, in order of first use, and the current state as flat rows.';
comment on column room_state_keys.current_event_nid is 'The event that holds this key in the current state; absent when the current state has none.';

create table state_nodes (
    node_id  bigint generated always as identity primary key,
    room_nid bigint not null references rooms on delete cascade,
    hash     bytea not null check (length(hash) = 16),
    level    smallint not null,
    kids     bigint[] not null,
    unique (room_nid, hash)
);
comment on table state_nodes is 'Persistent, content-addressed radix-32 trie from key_idx to event_nid. Insert-only, immutable; rows that no event''s state_before and no room''s current_root reaches may be deleted.';
comment on column state_nodes.hash is 'First 16 bytes of SHA-256 over level and kids: equal states have equal roots.';
comment on column state_nodes.level is '0 for leaves (kids are event_nids), n for inner nodes (kids are node_ids of level n - 1).';
comment on column state_nodes.kids is 'Up to 32 children, trailing absences trimmed; NULL where the key has no event.';

create sequence event_nids as bigint cache 1;
comment on sequence event_nids is 'cache 1 always: an event''s auth events must have smaller nids whatever session stored them.';

create table events (
    event_nid        bigint primary key default nextval('event_nids'),
    room_nid         bigint not null,
    pos              bigint,
    depth            bigint not null,
    origin_server_ts bigint not null,
    sender_nid       bigint not null,
    state_before     bigint,
    redacted_by      bigint,
    device_nid       bigint,
    thread_root_nid  bigint,
    notify_seq       bigint not null default 0,
    xid              xid8 not null default pg_current_xact_id(),
    key_idx          integer,
    status           smallint not null default 0 check (status between 0 and 3),
    notifies         boolean not null default false,
    event_id         text collate "C" not null unique,
    type             text collate "C" not null,
    txn_id           text collate "C",
    status_reason    text,
    prev_nids        bigint[] not null,
    auth_nids        bigint[] not null,
    mentions         text[] collate "C",
    json             text collate "C" not null,
    check (pos is null or status = 0)
) with (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
alter sequence event_nids owned by events.event_nid;
create index events_timeline on events (room_nid, pos) where pos is not null;
create index events_txn on events (device_nid, txn_id) where txn_id is not null;
create index events_thread on events (thread_root_nid, pos) where thread_root_nid is not null;
create index events_threaded on events (room_nid, pos) where thread_root_nid is not null;
create index events_mentions on events (room_nid, pos) where mentions is not null;
create index events_sender on events (sender_nid, room_nid, pos) where pos is not null and thread_root_nid is null;
comment on index events_threaded is 'Unread events in threads.';
comment on index events_mentions is 'Unread highlights.';
comment on index events_sender is 'A user''s own last event: what is before it has been read.';
comment on table events is 'Every event known, also rejected ones and outliers. event_nid is monotone over auth edges: an event is stored after all its auth events.';
comment on column events.room_nid is 'No foreign key: the append holds the room''s lock, and the check would cost each event a query.';
comment on column events.pos is 'Place in the room''s timeline, in the order that clients see; steps leave room for events found later. Absent: not in the timeline.';
comment on column events.origin_server_ts is 'Milliseconds since 1970, as the sender''s server claims.';
comment on column events.state_before is 'State before the event, as a root in state_nodes; 0 is the empty state, NULL means unknown, never empty.';
comment on column events.redacted_by is 'The redaction applied to it. json is then the redacted form.';
comment on column events.device_nid is 'The local device that sent it, with txn_id: makes sending idempotent.';
comment on column events.thread_root_nid is 'The event that it relates to by m.thread, when that is in the room.';
comment on column events.notify_seq is 'rooms.notify_seq after this event: unread counts are differences of it.';
comment on column events.notifies is 'By the default push rules, for members other than the sender.';
comment on column events.key_idx is 'Key in room_state_keys for state events; absent for message events.';
comment on column events.status is '0 accepted, 1 soft-failed, 2 rejected, 3 outlier (not yet judged against the state before it).';
comment on column events.mentions is 'User ids of m.mentions that this server knows, ''@room'' for a permitted mention of all and for tombstones; absent when none.';
comment on column events.json is 'The event as signed, in canonical JSON, without unsigned. Text and not jsonb: jsonb refuses \u0000 and folds numbers.';

create table event_auth_edges (
    auth_nid  bigint not null references events on delete cascade,
    event_nid bigint not null references events on delete cascade,
    primary key (auth_nid, event_nid),
    check (auth_nid < event_nid)
);
comment on table event_auth_edges is 'Who cites an event as auth event; accepted state events only, so that a search upward stays small. The direction downward is events.auth_nids.';

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
comment on table memberships is 'The current state''s m.room.member events as rows. Kept in step with room_state_keys by the function that appends.';

create table room_aliases (
    room_alias  text collate "C" primary key,
    room_nid    bigint not null references rooms on delete cascade,
    creator_nid bigint not null references users,
    created_at  timestamptz not null default now()
);
create index room_aliases_room on room_aliases (room_nid);
comment on table room_aliases is 'Aliases of this server. m.room.canonical_alias is separate, an ordinary state event.';
