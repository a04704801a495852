create function initialize(server_name text) returns void
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'initialize_wrapper';
comment on function initialize is
    'Records the server name of this database, and creates its first signing key. Idempotent; an ERROR if '
    'the database has another name.';
