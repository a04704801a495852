create function context(token_hash bytea, room_id text, event_id text, "limit" bigint, filter text)
returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'context_wrapper';
comment on function context is 'GET /rooms/{roomId}/context/{eventId}. limit and filter may be NULL.';
