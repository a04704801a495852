create function federation_query_keys(body text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_query_keys_wrapper';
comment on function federation_query_keys is 'POST /_matrix/federation/v1/user/keys/query';

create function federation_claim_keys(body text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_claim_keys_wrapper';
comment on function federation_claim_keys is 'POST /_matrix/federation/v1/user/keys/claim';

create function federation_user_devices(user_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_user_devices_wrapper';
comment on function federation_user_devices is 'GET /_matrix/federation/v1/user/devices/{userId}';
