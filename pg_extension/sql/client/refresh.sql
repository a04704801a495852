create function refuse_refresh(token_hash bytea) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'refuse_refresh_wrapper';
comment on function refuse_refresh is
    'POST /refresh with a refresh token that is not valid: returns the error, and ends the session if the '
    'token was replayed. token_hash is that of the refresh token.';
