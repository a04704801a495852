-- An access token that a refresh gave is used: the tokens that it replaced die. $1 its hash.
-- Gives whether the token is known.
with replacement as (
    select r.device_nid, r.token_hash
    from matriarch.access_tokens t
    join matriarch.refresh_tokens r on r.device_nid = t.device_nid and r.access_token_hash = t.token_hash
    where t.token_hash = $1
),
replaced as (
    delete from matriarch.refresh_tokens t
    using replacement r
    where t.device_nid = r.device_nid and t.replaced_by = r.token_hash
    returning t.access_token_hash
),
replaced_access_tokens as (
    delete from matriarch.access_tokens
    where token_hash in (select access_token_hash from replaced)
)
select exists (select from replacement) as known
