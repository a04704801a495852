create function room_visibility(room_id text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'room_visibility_wrapper';
comment on function room_visibility is 'GET /directory/list/room/{roomId}';

create function set_room_visibility(token_hash bytea, room_id text, visibility text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_room_visibility_wrapper';
comment on function set_room_visibility is 'PUT /directory/list/room/{roomId}';

create function public_rooms(token_hash bytea, server text, request text, origin text)
returns setof response
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'public_rooms_wrapper';
comment on function public_rooms is
    'GET /publicRooms, where token_hash is NULL, and POST /publicRooms. server is NULL for this server; '
    'request is the body of the POST. origin is the server that asks, or NULL.';
