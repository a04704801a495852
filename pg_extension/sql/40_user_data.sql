-- Account data, tags, filters and push rules.

create function set_account_data(token_hash bytea, user_id text, room_id text, data_type text, content text) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'set_account_data_wrapper';
comment on function set_account_data is 'PUT /user/{userId}/account_data/{type} and, with a room_id, PUT /user/{userId}/rooms/{roomId}/account_data/{type}';

create function account_data(token_hash bytea, user_id text, room_id text, data_type text) returns setof response
language c stable parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'account_data_wrapper';
comment on function account_data is 'GET /user/{userId}/account_data/{type} and, with a room_id, GET /user/{userId}/rooms/{roomId}/account_data/{type}';

create function tags(token_hash bytea, user_id text, room_id text) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'tags_wrapper';
comment on function tags is 'GET /user/{userId}/rooms/{roomId}/tags';

create function set_tag(token_hash bytea, user_id text, room_id text, tag text, content text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'set_tag_wrapper';
comment on function set_tag is 'PUT /user/{userId}/rooms/{roomId}/tags/{tag}';

create function delete_tag(token_hash bytea, user_id text, room_id text, tag text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'delete_tag_wrapper';
comment on function delete_tag is 'DELETE /user/{userId}/rooms/{roomId}/tags/{tag}';

create function create_filter(token_hash bytea, user_id text, content text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'create_filter_wrapper';
comment on function create_filter is 'POST /user/{userId}/filter; content is in canonical form: its text tells it from others';

create function filter(token_hash bytea, user_id text, filter_id text) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'filter_wrapper';
comment on function filter is 'GET /user/{userId}/filter/{filterId}';

create function push_rules(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'push_rules_wrapper';
comment on function push_rules is 'GET /pushrules/';

create function push_rules_global(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'push_rules_global_wrapper';
comment on function push_rules_global is 'GET /pushrules/global/';
