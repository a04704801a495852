create function is_live(pos bigint) returns boolean
language sql immutable strict parallel safe
as $$ select pos > 0 and pos % 1048576 = 0 $$;
comment on function is_live is
    'Whether events.pos is the position of a live event. If not, the event was backfilled.';
