-- What other servers ask of the rooms that this one is in. origin is the server that asks. As for 30_reads.sql, plans are
-- made once and for big tables.

create function federation_event(origin text, event_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_event_wrapper';
comment on function federation_event is 'GET /_matrix/federation/v1/event/{eventId}';

create function federation_state(origin text, room_id text, event_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_state_wrapper';
comment on function federation_state is 'GET /_matrix/federation/v1/state/{roomId}';

create function federation_state_ids(origin text, room_id text, event_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_state_ids_wrapper';
comment on function federation_state_ids is 'GET /_matrix/federation/v1/state_ids/{roomId}';

create function federation_event_auth(origin text, room_id text, event_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_event_auth_wrapper';
comment on function federation_event_auth is 'GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}';

create function federation_backfill(origin text, room_id text, event_ids text[], "limit" bigint) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_backfill_wrapper';
comment on function federation_backfill is 'GET /_matrix/federation/v1/backfill/{roomId}';

create function federation_missing_events(origin text, room_id text, request text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_missing_events_wrapper';
comment on function federation_missing_events is 'POST /_matrix/federation/v1/get_missing_events/{roomId}';

create function federation_timestamp_to_event(origin text, room_id text, ts bigint, dir text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_timestamp_to_event_wrapper';
comment on function federation_timestamp_to_event is 'GET /_matrix/federation/v1/timestamp_to_event/{roomId}';
