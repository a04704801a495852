create function timestamp_to_event(token_hash bytea, room_id text, ts bigint, dir text)
returns table (
    status smallint, outcome text, body text, wake_rooms bigint[], wake_users bigint[], gap text
)
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'timestamp_to_event_wrapper';
comment on function timestamp_to_event is
    'GET /rooms/{roomId}/timestamp_to_event. gap: the event after a gap in which a closer event may be '
    'missing.';
