create function store_remote_keys(server text, answer text, complete text[], updates bigint[]) returns void
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'store_remote_keys_wrapper';
comment on function store_remote_keys is
    'Stores another server''s response to a query for keys of its users. complete: the users all of whose '
    'devices were asked for. updates: for each of them, what device_lists_to_fetch returned.';
