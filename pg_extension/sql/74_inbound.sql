-- What other servers send in. As for 20_writes.sql, plans are made once and for big tables.

create function receive_transaction(origin text, txn_id text, pdus text[], edus text[]) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'receive_transaction_wrapper';
comment on function receive_transaction is 'PUT /_matrix/federation/v1/send/{txnId}: stages the PDUs, JSON texts, and has the EDUs take effect.';

create function store_device_list(user_id text, updates bigint, answer text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'store_device_list_wrapper';
comment on function store_device_list is 'Stores a server''s answer to GET /_matrix/federation/v1/user/devices/{userId}; updates is what remote_device_lists had when it was asked.';
