create function set_alias(token_hash bytea, alias text, room_id text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_alias_wrapper';
comment on function set_alias is 'PUT /directory/room/{roomAlias}';

create function alias(alias text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'alias_wrapper';
comment on function alias is 'GET /directory/room/{roomAlias}';

create function delete_alias(token_hash bytea, alias text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'delete_alias_wrapper';
comment on function delete_alias is 'DELETE /directory/room/{roomAlias}';

create function room_aliases(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'room_aliases_wrapper';
comment on function room_aliases is 'GET /rooms/{roomId}/aliases';
