-- Exchanges a refresh token for a new pair of tokens of its device. $1 hash of the refresh token, $2 hash of
-- the new refresh token, $3 hash of the new access token, $4 lifetime of the new access token in seconds. The
-- device keeps the presented token and its access token until the new pair is used. Deletes older pairs,
-- since this one was used, and a pair that replaced it earlier, since that was not used. Marks both as
-- revoked. If it is `known` and not `refreshed`, another refresh with the same token ran at the same time:
-- run it again.
with device as (
    -- Locked before any token, in the same order as in a logout.
    select d.device_nid, d.user_nid
    from matriarch.refresh_tokens r
    join matriarch.devices d using (device_nid)
    where r.token_hash = $1
    for key share of d
),
presented as (
    update matriarch.refresh_tokens r
    set replaced_by = $2
    from device d
    where r.token_hash = $1
        and r.device_nid = d.device_nid
        and r.replaced_by is not distinct from
            (select replaced_by from matriarch.refresh_tokens where token_hash = $1)
    returning d.user_nid, d.device_nid, r.access_token_hash
),
other_refresh_tokens as (
    delete from matriarch.refresh_tokens t
    using presented p
    where t.device_nid = p.device_nid and t.token_hash <> $1
    returning t.token_hash, t.device_nid, t.replaced_by
),
revoked as (
    insert into matriarch.revoked_refresh_tokens (token_hash, device_nid, was_used)
    select token_hash, device_nid, replaced_by is not distinct from $1
    from other_refresh_tokens
),
other_access_tokens as (
    delete from matriarch.access_tokens t
    using presented p
    where t.device_nid = p.device_nid and t.token_hash <> p.access_token_hash
),
access_token as (
    insert into matriarch.access_tokens (token_hash, user_nid, device_nid, expires_at)
    select $3, user_nid, device_nid, now() + make_interval(secs => $4)
    from presented
),
refresh_token as (
    insert into matriarch.refresh_tokens (token_hash, device_nid, access_token_hash)
    select $2, device_nid, $3
    from presented
)
select
    exists (select from presented) as refreshed,
    exists (select from matriarch.refresh_tokens where token_hash = $1) as known
