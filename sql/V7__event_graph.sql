-- The event graph of rooms that several servers write: branches, what is missing of it, and the keys of other servers.

alter table events add column room_root bigint;
alter table events add column superseded boolean not null default false;
comment on column events.room_root is 'The room''s current state once the event was in, as a root in state_nodes, where other branches make it differ from the state after the event. Absent where it is that state, and outside the timeline.';
comment on column events.superseded is 'Of soft-failed and rejected events: an accepted event cites it, directly or through others that were not accepted.';

-- Edges are written with their events, under the room's lock: the checks cost more than the edges.
alter table event_auth_edges
    drop constraint event_auth_edges_auth_nid_fkey,
    drop constraint event_auth_edges_event_nid_fkey;

create table missing_prev_events (
    room_nid      bigint not null references rooms on delete cascade,
    prev_event_id text collate "C" not null,
    event_nid     bigint not null,
    primary key (room_nid, prev_event_id, event_nid)
);
comment on table missing_prev_events is 'prev_events of stored events that are not in the graph themselves: the backward extremities. Rows go when the event comes; events.prev_nids has it then.';
comment on column missing_prev_events.event_nid is 'The stored event that cites it. No foreign key: events are stored and purged under the room''s lock.';

create table missing_redacted_events (
    room_nid      bigint not null references rooms on delete cascade,
    event_id      text collate "C" not null,
    redaction_nid bigint not null,
    primary key (room_nid, event_id, redaction_nid)
);
comment on table missing_redacted_events is 'Targets of accepted redactions that were not stored yet. Rows go when the event comes.';

create table state_resolutions (
    room_nid bigint not null references rooms on delete cascade,
    roots    bigint[] not null,
    root     bigint not null,
    primary key (room_nid, roots)
);
comment on table state_resolutions is 'Results of state resolution. A memo: rows may be deleted at any time.';
comment on column state_resolutions.roots is 'The states that were resolved, in ascending order, each once.';
comment on column state_resolutions.root is 'The resolved state.';

create table server_keys (
    server_name    text collate "C" not null,
    key_id         text collate "C" not null,
    public_key     text collate "C" not null,
    valid_until_ts bigint not null,
    expired        boolean not null default false,
    fetched_at     timestamptz not null default now(),
    primary key (server_name, key_id)
);
comment on table server_keys is 'Signing keys that other servers published. Kept forever: old events need old keys.';
comment on column server_keys.public_key is 'ed25519, in unpadded base64.';
comment on column server_keys.valid_until_ts is 'Milliseconds since 1970 up to which the key may sign: valid_until_ts of a key in use, expired_ts of an old one.';
comment on column server_keys.expired is 'Published among old_verify_keys: valid_until_ts will not grow.';

create function store_server_keys(
    server_name text, key_ids text[], public_keys text[], valid_until_ts bigint[], expired boolean[]
) returns void
language sql volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
    insert into server_keys (server_name, key_id, public_key, valid_until_ts, expired)
    select store_server_keys.server_name, k.key_id, k.public_key, k.valid_until_ts, k.expired
    from unnest(key_ids, public_keys, valid_until_ts, expired) as k (key_id, public_key, valid_until_ts, expired)
    order by k.key_id
    on conflict (server_name, key_id) do update
    set public_key = excluded.public_key, valid_until_ts = excluded.valid_until_ts, expired = excluded.expired,
        fetched_at = excluded.fetched_at
    where not server_keys.expired
$$;
comment on function store_server_keys is 'Records keys that a server published; the caller checked their signatures. A key that once expired stays as it was.';
revoke all on function store_server_keys from public;
grant execute on function store_server_keys to matriarch_api;
