create function room_state(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'room_state_wrapper';
comment on function room_state is 'GET /rooms/{roomId}/state';

create function room_state_event(token_hash bytea, room_id text, event_type text, state_key text, format text)
returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'room_state_event_wrapper';
comment on function room_state_event is
    'GET /rooms/{roomId}/state/{eventType}/{stateKey}. format is content, event, or NULL for content.';
