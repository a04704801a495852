-- Checking rooms against their events, and repairing them. As for 20_writes.sql, plans are made once and for big tables.

create type disagreement as (
    check_name  text,
    event_id    text,
    subject     text,
    found       text,
    expected    text,
    action      text
);
comment on type disagreement is 'Something derived of a room''s events that is not what follows from them, and what was done about it; action is absent where nothing can be.';

create function verify_room(
    room_id text, out check_name text, out event_id text, out subject text, out found text, out expected text
) returns setof record
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'verify_room_wrapper';
comment on function verify_room is 'Recomputes what is derived of a room''s events; a row for each disagreement.';

create function repair_room(room_id text) returns setof disagreement
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'repair_room_wrapper';
comment on function repair_room is 'Repairs what verify_room finds, under the room''s lock.';
