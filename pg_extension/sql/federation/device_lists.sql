create function store_device_list(user_id text, updates bigint, answer text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'store_device_list_wrapper';
comment on function store_device_list is
    'Stores another server''s response to GET /_matrix/federation/v1/user/devices/{userId}. updates: the '
    'value of remote_device_lists.updates when the request was sent.';
