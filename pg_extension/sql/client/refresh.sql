create function refuse_refresh(token_hash bytea) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'refuse_refresh_wrapper';
comment on function refuse_refresh is
    'POST /refresh, for a refresh token that is not good: says so, and ends the session of one that is '
    'replayed. token_hash is the refresh token''s.';
