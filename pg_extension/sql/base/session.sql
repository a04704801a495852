create function whoami(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'whoami_wrapper';
comment on function whoami is 'GET /account/whoami';
