-- Keys of end-to-end encryption.

create function upload_keys(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'upload_keys_wrapper';
comment on function upload_keys is 'POST /keys/upload';

create function query_keys(token_hash bytea, body text, answered text[]) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'query_keys_wrapper';
comment on function query_keys is 'POST /keys/query. answered are the other servers whose answers about their users were stored by store_remote_keys.';

create function claim_keys(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'claim_keys_wrapper';
comment on function claim_keys is 'POST /keys/claim';

create function key_changes(token_hash bytea, "from" text, "to" text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'key_changes_wrapper';
comment on function key_changes is 'GET /keys/changes';

create function upload_cross_signing_keys(token_hash bytea, body text, authenticated boolean) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'upload_cross_signing_keys_wrapper';
comment on function upload_cross_signing_keys is 'POST /keys/device_signing/upload. No row where the user must pass user-interactive authentication first; authenticated says that this happened.';

create function upload_signatures(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'upload_signatures_wrapper';
comment on function upload_signatures is 'POST /keys/signatures/upload';
