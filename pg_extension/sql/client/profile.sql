create function set_profile_field(token_hash bytea, user_id text, key text, body text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_profile_field_wrapper';
comment on function set_profile_field is 'PUT /profile/{userId}/{keyName}. body is that of the request.';

create function delete_profile_field(token_hash bytea, user_id text, key text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'delete_profile_field_wrapper';
comment on function delete_profile_field is 'DELETE /profile/{userId}/{keyName}';

create function show_profiles() returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'show_profiles_wrapper';
comment on function show_profiles is
    'Has up to 20 rooms show a changed profile of a user who is in many. The answer has more: whether to '
    'call it again.';

create function profile(user_id text, key text) returns setof response
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'profile_wrapper';
comment on function profile is 'GET /profile/{userId} and, with a key, GET /profile/{userId}/{keyName}';
