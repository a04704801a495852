-- Checks the derived data of rooms against their events.

create function verify_room(
    room_id text, out check_name text, out event_id text, out subject text, out found text, out expected text
) returns setof record
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'verify_room_wrapper';
comment on function verify_room is
    'Computes a room''s derived data again. A row for each disagreement with what is stored.';
