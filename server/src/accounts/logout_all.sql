-- $1 access token hash. Deletes all devices of its owner.
-- Gives its owner and whether it had expired; no row when it is not known.
with session as (
    select user_nid, coalesce(expires_at < now(), false) as expired
    from matriarch.access_tokens
    where token_hash = $1
),
devices as (
    delete from matriarch.devices d
    using session s
    where d.user_nid = s.user_nid and not s.expired
)
select user_nid, expired from session
