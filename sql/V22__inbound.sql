-- What other servers send in: the transactions that were taken, the events of them that are not in their rooms yet, and how
-- far the device lists of their users are known.

create table inbound_transactions (
    origin      text collate "C" not null,
    txn_id      text collate "C" not null,
    received_at timestamptz not null default now(),
    response    text not null,
    primary key (origin, txn_id)
) with (autovacuum_vacuum_scale_factor = 0.05);
create index inbound_transactions_age on inbound_transactions (received_at);
comment on table inbound_transactions is 'Transactions of other servers that were acknowledged: one that comes again gets the same answer, and does nothing. Deleted by a node''s periodic task after a day.';
comment on column inbound_transactions.response is 'JSON as answered.';

create table inbound_queues (
    room_nid     bigint not null,
    origin       text collate "C" not null,
    generation     bigint not null default 0,
    next_try_at  timestamptz not null default now(),
    leased_until timestamptz,
    primary key (room_nid, origin)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
create index inbound_queues_due on inbound_queues (next_try_at);
create index inbound_queues_origin on inbound_queues (origin, leased_until);
comment on table inbound_queues is 'Rooms and servers with events in inbound_pdus. A row is worked off by one node at a time. Each server has a queue of its own in a room, so that one which is slow to give what its events need delays its own events only.';
comment on column inbound_queues.room_nid is 'No foreign key: the check would wait for appends to the room.';
comment on column inbound_queues.generation is 'Counts transactions that added to the queue: a node that worked it off deletes the row only if none came meanwhile.';
comment on column inbound_queues.leased_until is 'Some node works on it, until then at least; absent when none does.';

create table inbound_pdus (
    room_nid    bigint not null,
    origin      text collate "C" not null,
    inbound_id  bigint not null generated always as identity,
    event_id    text collate "C" not null,
    received_at timestamptz not null default now(),
    attempts    smallint not null default 0,
    next_try_at timestamptz not null default now(),
    last_error  text,
    json        text not null,
    primary key (room_nid, origin, inbound_id),
    unique (room_nid, event_id, origin),
    foreign key (room_nid, origin) references inbound_queues on delete cascade
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_insert_scale_factor = 0.2);
create index inbound_pdus_origin on inbound_pdus (origin);
comment on table inbound_pdus is 'Events that other servers sent, acknowledged, and not taken into their rooms yet. A row goes when its event was taken in, is none, or was tried too often.';
comment on column inbound_pdus.origin is 'The server that sent it, which need not be the sender''s.';
comment on column inbound_pdus.inbound_id is 'Ascending in the order of arrival.';
comment on column inbound_pdus.event_id is 'As the JSON says, whose signatures nobody has looked at: several servers may send different forms.';
comment on column inbound_pdus.json is 'As received.';

create table inbound_to_device (
    origin      text collate "C" not null,
    message_id  text collate "C" not null,
    received_at timestamptz not null default now(),
    primary key (origin, message_id)
) with (autovacuum_vacuum_scale_factor = 0.05);
create index inbound_to_device_age on inbound_to_device (received_at);
comment on table inbound_to_device is 'Send-to-device messages of other servers that were taken, so that a repeated one does nothing. Deleted by a node''s periodic task after a week.';

create table remote_device_lists (
    user_nid     bigint primary key references users,
    server_name  text collate "C" not null,
    stream_id    bigint,
    updates      bigint not null default 0,
    stale_since  timestamptz,
    attempts     integer not null default 0,
    next_try_at  timestamptz not null default now(),
    leased_until timestamptz,
    last_error   text
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index remote_device_lists_stale on remote_device_lists (server_name, next_try_at) where stale_since is not null;
comment on table remote_device_lists is 'How far the device lists of other servers'' users are known. Its row is locked before the user''s device_keys and cross_signing_keys are written.';
comment on column remote_device_lists.stream_id is 'stream_id of the update, or of the whole list, that device_keys are up to; absent before the first whole list.';
comment on column remote_device_lists.updates is 'Counts updates that came: a whole list ends staleness only if none came while it was fetched.';
comment on column remote_device_lists.stale_since is 'Since when an update is missing; absent while there is none. A node fetches the whole list then.';

grant select, insert, update, delete on inbound_transactions, inbound_queues, inbound_pdus, inbound_to_device to matriarch_api;
grant select, update on remote_device_lists to matriarch_api;

create function room_heads(room_id text) returns text[]
language sql stable strict parallel safe security definer set search_path = matriarch, pg_temp
as $$
    select array_agg(e.event_id order by e.event_nid desc)
    from rooms r
    cross join lateral unnest(r.forward_extremities) head (event_nid)
    join events e on e.event_nid = head.event_nid
    where r.room_id = room_heads.room_id
$$;
comment on function room_heads is 'The room''s forward extremities, newest first; NULL where there are none.';

create function unknown_events(event_ids text[]) returns setof text
language sql stable strict parallel safe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select event_id
    from unnest(event_ids) wanted (event_id)
    where not exists (select from events e where e.event_id = wanted.event_id)
$$;
comment on function unknown_events is 'Those of these events that are not stored in any way.';

revoke all on function room_heads, unknown_events from public;
grant execute on function room_heads, unknown_events to matriarch_api;

create view matrix.inbound as
select
    r.room_id,
    q.origin,
    count(p.inbound_id) as events,
    min(p.received_at) as oldest,
    max(p.attempts) as attempts,
    min(p.next_try_at) as next_try_at,
    (array_agg(p.last_error order by p.inbound_id) filter (where p.last_error is not null))[1] as last_error
from matriarch.inbound_queues q
join matriarch.rooms r on r.room_nid = q.room_nid
left join matriarch.inbound_pdus p on p.room_nid = q.room_nid and p.origin = q.origin
group by r.room_id, q.origin;
comment on view matrix.inbound is 'Events that other servers sent and that are not in their rooms yet, by room and sending server.';
grant select on matrix.inbound to matriarch_readonly;
