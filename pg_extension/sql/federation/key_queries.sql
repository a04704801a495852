create function store_remote_keys(server text, answer text, complete text[]) returns void
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'store_remote_keys_wrapper';
comment on function store_remote_keys is
    'Stores a server''s answer to a query of its users'' keys; complete are the users whose devices were '
    'all asked for.';
