create function devices(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'devices_wrapper';
comment on function devices(bytea) is 'GET /devices';

create function device(token_hash bytea, device_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'device_wrapper';
comment on function device is 'GET /devices/{deviceId}';

create function rename_device(token_hash bytea, device_id text, request text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'rename_device_wrapper';
comment on function rename_device is 'PUT /devices/{deviceId}';

create function delete_devices(token_hash bytea, request text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'delete_devices_wrapper';
comment on function delete_devices is
    'DELETE /devices/{deviceId} and POST /delete_devices, after user-interactive authentication';
