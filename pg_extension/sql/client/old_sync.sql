create function room_initial_sync(token_hash bytea, room_id text, "limit" bigint) returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'room_initial_sync_wrapper';
comment on function room_initial_sync is 'GET /rooms/{roomId}/initialSync. limit may be NULL.';

create function initial_sync(token_hash bytea, "limit" bigint, archived boolean, presence boolean)
returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'initial_sync_wrapper';
comment on function initial_sync is 'GET /initialSync. limit may be NULL.';

create function events(token_hash bytea, "from" text, room_id text, presence boolean)
returns table (
    status smallint, body text, changed boolean, user_nid bigint, room_nids bigint[], acknowledged_by bigint
)
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'events_wrapper';
comment on function events is
    'GET /events: of all rooms or, where room_id is not NULL, of one room. The columns are those of sync.';
