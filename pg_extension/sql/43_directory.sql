-- Room aliases and the published room directory. What appends is planned as in 20_writes.sql.

create function set_alias(token_hash bytea, alias text, room_id text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'set_alias_wrapper';
comment on function set_alias is 'PUT /directory/room/{roomAlias}';

create function alias(alias text) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'alias_wrapper';
comment on function alias is 'GET /directory/room/{roomAlias}';

create function delete_alias(token_hash bytea, alias text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan
as 'MODULE_PATHNAME', 'delete_alias_wrapper';
comment on function delete_alias is 'DELETE /directory/room/{roomAlias}';

create function room_aliases(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'room_aliases_wrapper';
comment on function room_aliases is 'GET /rooms/{roomId}/aliases';

create function room_visibility(room_id text) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'room_visibility_wrapper';
comment on function room_visibility is 'GET /directory/list/room/{roomId}';

create function set_room_visibility(token_hash bytea, room_id text, visibility text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'set_room_visibility_wrapper';
comment on function set_room_visibility is 'PUT /directory/list/room/{roomId}';

create function public_rooms(token_hash bytea, server text, request text) returns setof response
language c stable parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'public_rooms_wrapper';
comment on function public_rooms is 'GET /publicRooms, where token_hash is NULL, and POST /publicRooms; server is NULL for this one, request the body of the POST';
