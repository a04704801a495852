-- Records the first use of an access token from a refresh: deletes the tokens that it replaced, and marks the
-- old refresh token as revoked. $1 the access token's hash. Returns whether the token is known.
with replacement as (
    select r.device_nid, r.token_hash
    from matriarch.access_tokens t
    join matriarch.refresh_tokens r on r.device_nid = t.device_nid and r.access_token_hash = t.token_hash
    where t.token_hash = $1
),
device as (
    -- Locked before any token, in the same order as in a logout.
    select d.device_nid, r.token_hash
    from replacement r
    join matriarch.refresh_tokens t on t.device_nid = r.device_nid and t.replaced_by = r.token_hash
    join matriarch.devices d on d.device_nid = r.device_nid
    for key share of d
),
replaced as (
    delete from matriarch.refresh_tokens t
    using device d
    where t.device_nid = d.device_nid and t.replaced_by = d.token_hash
    returning t.token_hash, t.device_nid, t.access_token_hash
),
revoked as (
    insert into matriarch.revoked_refresh_tokens (token_hash, device_nid, was_used)
    select token_hash, device_nid, true
    from replaced
),
replaced_access_tokens as (
    delete from matriarch.access_tokens
    where token_hash in (select access_token_hash from replaced)
)
select exists (select from replacement) as known
