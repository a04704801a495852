create function whoami(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'whoami_wrapper';
comment on function whoami is 'GET /account/whoami';

create function record_generation() returns void
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'record_generation_wrapper';
comment on function record_generation is 'Notes which start of the server this is, before a row is written that sync tokens tell of. The functions here do it by themselves.';

create function refuse_refresh(token_hash bytea) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'refuse_refresh_wrapper';
comment on function refuse_refresh is 'POST /refresh, for a refresh token that is not good: says so, and ends the session of one that is replayed. token_hash is the refresh token''s.';
