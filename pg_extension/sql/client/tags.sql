create function tags(token_hash bytea, user_id text, room_id text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'tags_wrapper';
comment on function tags is 'GET /user/{userId}/rooms/{roomId}/tags';

create function set_tag(token_hash bytea, user_id text, room_id text, tag text, content text)
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_tag_wrapper';
comment on function set_tag is 'PUT /user/{userId}/rooms/{roomId}/tags/{tag}';

create function delete_tag(token_hash bytea, user_id text, room_id text, tag text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'delete_tag_wrapper';
comment on function delete_tag is 'DELETE /user/{userId}/rooms/{roomId}/tags/{tag}';
