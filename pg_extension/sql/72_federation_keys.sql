-- Keys of end-to-end encryption, between servers.

create function federation_query_keys(body text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_query_keys_wrapper';
comment on function federation_query_keys is 'POST /_matrix/federation/v1/user/keys/query';

create function federation_claim_keys(body text) returns setof response
language c volatile strict parallel unsafe security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_claim_keys_wrapper';
comment on function federation_claim_keys is 'POST /_matrix/federation/v1/user/keys/claim';

create function federation_user_devices(user_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'federation_user_devices_wrapper';
comment on function federation_user_devices is 'GET /_matrix/federation/v1/user/devices/{userId}';

create function store_remote_keys(server text, answer text, complete text[]) returns void
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'store_remote_keys_wrapper';
comment on function store_remote_keys is 'Stores a server''s answer to a query of its users'' keys; complete are the users whose devices were all asked for.';
