-- The event graph: intake of events made elsewhere. As for 20_writes.sql, plans are made once and for big tables.

create function receive_pdus(
    room_id text, room_version text, kind text, pdus text[], states text, given_up text[]
) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'receive_pdus_wrapper';
comment on function receive_pdus is 'Takes in PDUs of a room, in any order: judges and stores them, or says what it needs first. kind is live, backfilled or outlier; states gives the state before events whose prev_events cannot be obtained, as a JSON object from event ids to arrays of event ids; given_up names the prev_events and servers that cannot be obtained.';

create function complete_partial_join(join_event_id text, state text[], states text, given_up text[])
returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'complete_partial_join_wrapper';
comment on function complete_partial_join is 'Makes a room whole that was partial, by the ids of the events of the state before the join; what was found out meanwhile is judged again. states and given_up: as for receive_pdus, for events before which others cannot be had, NULL giving up all; where they are in neither, the answer names them as needs, and nothing is done.';

create function resolve_state(event_ids text[], out room_nid bigint, out key_idx integer, out event_nid bigint)
returns setof record
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'resolve_state_wrapper';
comment on function resolve_state is 'The state that a room would have if these events were its forward extremities.';

create function explain_resolution(
    event_id text, out step integer, out phase text, out event_nid bigint, out allowed boolean, out rule text,
    out reason text
) returns setof record
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'explain_resolution_wrapper';
comment on function explain_resolution is 'The steps of the state resolution before an event.';

create function explain_event(
    event_id text, out step integer, out check_name text, out passed boolean, out rule text, out reason text,
    out event_nids bigint[]
) returns setof record
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'explain_event_wrapper';
comment on function explain_event is 'The checks that an event went through on receipt, taken again, and what became of it.';

create function event_fields(json text, out state_key text, out prev_events text[], out auth_events text[])
returns setof record
language c immutable strict parallel safe rows 1
as 'MODULE_PATHNAME', 'event_fields_wrapper';
comment on function event_fields is 'What is only in an event''s JSON, whatever else that holds: the state key also of rejected events, and all events that it cites, known or not. U+0000 shows as U+FFFD.';
