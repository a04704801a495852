-- Events by their time.

create function timestamp_to_event(token_hash bytea, room_id text, ts bigint, dir text)
returns table (status smallint, body text, wake_rooms bigint[], wake_users bigint[], gap text)
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'timestamp_to_event_wrapper';
comment on function timestamp_to_event is 'GET /rooms/{roomId}/timestamp_to_event. gap is an event before which a closer one may be missing here.';
