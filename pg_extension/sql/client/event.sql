create function event(token_hash bytea, room_id text, event_id text) returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'event_wrapper';
comment on function event is
    'GET /rooms/{roomId}/event/{eventId} and, where room_id is NULL, GET /events/{eventId}';
