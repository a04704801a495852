create function set_typing(token_hash bytea, room_id text, user_id text, typing boolean, timeout bigint)
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_typing_wrapper';
comment on function set_typing is 'PUT /rooms/{roomId}/typing/{userId}. timeout is in milliseconds.';

create function expire_typing() returns setof bigint
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'expire_typing_wrapper';
comment on function expire_typing is
    'Ends typing whose time is over. Returns the room_nids to wake. Nodes call it about once a second.';
