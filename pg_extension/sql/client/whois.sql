create function whois(token_hash bytea, user_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'whois_wrapper';
comment on function whois is 'GET /admin/whois/{userId}: for oneself, and for administrators';
