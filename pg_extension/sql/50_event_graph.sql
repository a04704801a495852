-- The event graph: intake of events made elsewhere. As for 20_writes.sql, plans are made once and for big tables.

create function receive_pdus(
    room_id text, room_version text, kind text, pdus text[], states text, given_up text[]
) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'receive_pdus_wrapper';
comment on function receive_pdus is 'Takes in PDUs of a room, in any order: judges and stores them, or says what it needs first. kind is live, backfilled or outlier; states gives the state before events whose prev_events cannot be obtained, as a JSON object from event ids to arrays of event ids; given_up names the events and servers that cannot be obtained.';
