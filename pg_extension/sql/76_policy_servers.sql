-- Policy servers.

create function append_signed(room_id text, event text, device_nid bigint, txn_id text) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'append_signed_wrapper';
comment on function append_signed is 'Appends an event of a user of this server that a function answered with status 428, now that the room''s policy server has signed it. device_nid and txn_id are as in that answer, and may be NULL.';
