-- What other servers are to be sent. As for 20_writes.sql, plans are made once and for big tables.

create function claim_transactions(
    lease text, max bigint, seconds double precision, renewed bigint[],
    out destination_nid bigint, out destination text, out txn_id text, out body text
) returns setof record
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'claim_transactions_wrapper';
comment on function claim_transactions is 'Claims other servers that there is something to send to, up to so many and for so many seconds, and gives what to send: the body of PUT /_matrix/federation/v1/send/{txnId}. lease names the node; it renews the leases that it has.';

create function finish_transaction(
    lease text, destination_nid bigint, txn_id text, error text, is_refusal boolean,
    out given_up boolean, out next_txn_id text, out next_body text
) returns setof record
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'finish_transaction_wrapper';
comment on function finish_transaction is 'Says how a transaction went, and gives the next one for the server, if there is one. error is NULL if it was taken; is_refusal: it would be refused again.';

create function release_transactions(lease text) returns void
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'release_transactions_wrapper';
comment on function release_transactions is 'Gives back the leases of a node that stops.';

create function retry_transactions(server_name text) returns void
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'retry_transactions_wrapper';
comment on function retry_transactions is 'Lets a server be sent to at once: it was heard of.';
