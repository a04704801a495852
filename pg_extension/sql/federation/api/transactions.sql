create function receive_transaction(origin text, txn_id text, pdus text[], edus text[]) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'receive_transaction_wrapper';
comment on function receive_transaction is
    'PUT /_matrix/federation/v1/send/{txnId}: stages the PDUs and applies the EDUs, which are JSON texts.';
