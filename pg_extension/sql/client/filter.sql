create function create_filter(token_hash bytea, user_id text, content text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'create_filter_wrapper';
comment on function create_filter is
    'POST /user/{userId}/filter. content is canonical JSON, so that equal filters have equal texts.';

create function filter(token_hash bytea, user_id text, filter_id text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'filter_wrapper';
comment on function filter is 'GET /user/{userId}/filter/{filterId}';
