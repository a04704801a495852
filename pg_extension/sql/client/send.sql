create function send(
    room_ids text[], token_hashes bytea[], types text[], state_keys text[], txn_ids text[], contents text[],
    redacts text[]
) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'send_wrapper';
comment on function send is
    'PUT send, PUT state and PUT redact: several requests, with a row for each, in order. The arrays have '
    'the same length. state_keys, txn_ids and redacts hold NULL where a request has none.';
