-- Dehydrated devices (MSC3814).

create function set_dehydrated_device(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'set_dehydrated_device_wrapper';
comment on function set_dehydrated_device is 'PUT /dehydrated_device';

create function dehydrated_device(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'dehydrated_device_wrapper';
comment on function dehydrated_device is 'GET /dehydrated_device';

create function delete_dehydrated_device(token_hash bytea) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'delete_dehydrated_device_wrapper';
comment on function delete_dehydrated_device is 'DELETE /dehydrated_device';

create function dehydrated_device_events(token_hash bytea, device_id text, "from" text) returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'dehydrated_device_events_wrapper';
comment on function dehydrated_device_events is
    'GET /dehydrated_device/{device_id}/events. from may be NULL.';

create function post_dehydrated_device_events(token_hash bytea, device_id text, body text)
returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'post_dehydrated_device_events_wrapper';
comment on function post_dehydrated_device_events is 'POST /dehydrated_device/{device_id}/events';
