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

create function federation_make_membership(origin text, room_id text, user_id text, membership text, versions text[])
returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_make_membership_wrapper';
comment on function federation_make_membership is 'GET /_matrix/federation/v1/make_join/{roomId}/{userId}, make_knock, make_leave: membership is join, knock or leave. versions may be NULL: any.';

create function federation_send_membership(
    origin text, room_id text, event_id text, membership text, request text, omit_members boolean
) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_send_membership_wrapper';
comment on function federation_send_membership is 'PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, v1/send_knock, v2/send_leave: takes the event in. Status 424 where it depends on what is not known yet; the answer then has the event to be taken in first.';

create function federation_invite(origin text, room_id text, event_id text, request text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'federation_invite_wrapper';
comment on function federation_invite is 'PUT /_matrix/federation/v2/invite/{roomId}/{eventId}. Status 424 where the keys of the server that asks must be fetched first.';

create function leave_out_of_band(token_hash bytea, room_id text, event_id text, event text) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'leave_out_of_band_wrapper';
comment on function leave_out_of_band is 'Notes that the user has left a room that no user of this server is in. event is the event that another server took in, NULL where none did.';

create function knock_out_of_band(token_hash bytea, room_id text, room_version text, event text, state text[]) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'knock_out_of_band_wrapper';
comment on function knock_out_of_band is 'The user knocks at a room that no user of this server is in, by an event that another server took in.';
