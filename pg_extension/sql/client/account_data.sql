create function set_account_data(token_hash bytea, user_id text, room_id text, data_type text, content text)
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_account_data_wrapper';
comment on function set_account_data is
    'PUT /user/{userId}/account_data/{type} and, with a room_id, PUT '
    '/user/{userId}/rooms/{roomId}/account_data/{type}';

create function account_data(token_hash bytea, user_id text, room_id text, data_type text)
returns setof response
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'account_data_wrapper';
comment on function account_data is
    'GET /user/{userId}/account_data/{type} and, with a room_id, GET '
    '/user/{userId}/rooms/{roomId}/account_data/{type}';
