-- Functions that read rooms. Their queries are planned once, and with nested loops over indexes, which is right whatever
-- the size of the tables and the age of the statistics: they begin with the ids in their parameters.

create function sync(token_hashes bytea[], requests text[])
returns table (status smallint, body text, changed boolean, user_nid bigint, room_nids bigint[], acknowledged_by bigint)
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'sync_wrapper';
comment on function sync is 'GET /sync, for several requests at once: a row for each, in order. A request is a JSON object of the query parameters since, filter, full_state, use_state_after and unstable_use_state_after. Where changed is false there is nothing new, and room_nids are the rooms to wait for. acknowledged_by is the device whose token acknowledges messages that are still stored: acknowledge_to_device deletes them.';

create function messages(
    token_hash bytea, room_id text, "from" text, "to" text, dir text, "limit" bigint, filter text, stops_at_gaps boolean
)
returns table (status smallint, body text, wake_rooms bigint[], wake_users bigint[], gap text)
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'messages_wrapper';
comment on function messages is 'GET /rooms/{roomId}/messages. from, to, limit and filter may be NULL. With stops_at_gaps the page ends where events are missing that other servers may be asked for: gap is the event before which they belong, if the page has room for more.';

create function context(token_hash bytea, room_id text, event_id text, "limit" bigint, filter text) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'context_wrapper';
comment on function context is 'GET /rooms/{roomId}/context/{eventId}. limit and filter may be NULL.';

create function event(token_hash bytea, room_id text, event_id text) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'event_wrapper';
comment on function event is 'GET /rooms/{roomId}/event/{eventId} and, where room_id is NULL, GET /events/{eventId}';

create function room_state(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'room_state_wrapper';
comment on function room_state is 'GET /rooms/{roomId}/state';

create function room_state_event(token_hash bytea, room_id text, event_type text, state_key text, format text) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'room_state_event_wrapper';
comment on function room_state_event is 'GET /rooms/{roomId}/state/{eventType}/{stateKey}. format is content, also where it is NULL, or event.';

create function members(token_hash bytea, room_id text, at text, membership text, not_membership text) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'members_wrapper';
comment on function members is 'GET /rooms/{roomId}/members. at, membership and not_membership may be NULL.';

create function joined_members(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'joined_members_wrapper';
comment on function joined_members is 'GET /rooms/{roomId}/joined_members';

create function joined_rooms(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'joined_rooms_wrapper';
comment on function joined_rooms is 'GET /joined_rooms';

create function room_initial_sync(token_hash bytea, room_id text, "limit" bigint) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'room_initial_sync_wrapper';
comment on function room_initial_sync is 'GET /rooms/{roomId}/initialSync. limit may be NULL.';

create function initial_sync(token_hash bytea, "limit" bigint, archived boolean, presence boolean) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'initial_sync_wrapper';
comment on function initial_sync is 'GET /initialSync. limit may be NULL.';

create function events(token_hash bytea, "from" text, room_id text, presence boolean) returns table (status smallint, body text, changed boolean, user_nid bigint, room_nids bigint[], acknowledged_by bigint)
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'events_wrapper';
comment on function events is 'GET /events, of all rooms or, where room_id is not NULL, of one. Columns as those of sync.';
