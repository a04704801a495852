create function messages(
    token_hash bytea, room_id text, "from" text, "to" text, dir text, "limit" bigint, filter text,
    stops_at_gaps boolean
)
returns table (
    status smallint, outcome text, body text, wake_rooms bigint[], wake_users bigint[], gap text
)
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'messages_wrapper';
comment on function messages is
    'GET /rooms/{roomId}/messages. from, to, limit and filter may be NULL. stops_at_gaps: the page ends at a '
    'gap that other servers may fill; if it could have more events, gap is the event after the gap.';
