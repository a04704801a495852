create function initialize(server_name text) returns void
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'initialize_wrapper';
comment on function initialize is
    'Records the name of the server that this database belongs to, and creates its first signing key. '
    'Idempotent; an ERROR if the name is another.';
