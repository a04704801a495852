-- Typing, receipts and read markers.

create function set_typing(token_hash bytea, room_id text, user_id text, typing boolean, timeout bigint) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'set_typing_wrapper';
comment on function set_typing is 'PUT /rooms/{roomId}/typing/{userId}; timeout in milliseconds';

create function expire_typing() returns setof bigint
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'expire_typing_wrapper';
comment on function expire_typing is 'Ends typing whose time is over, and returns the room_nids to wake. Nodes call it about once a second.';

create function set_receipts(token_hash bytea, room_id text, receipt_types text[], event_ids text[], thread_id text) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'set_receipts_wrapper';
comment on function set_receipts is 'POST /rooms/{roomId}/receipt/{receiptType}/{eventId} and POST /rooms/{roomId}/read_markers: receipt_types[n], m.fully_read among them, moves to event_ids[n]; thread_id is NULL for unthreaded receipts';
