-- $1 access token hash. Deletes its device, and with it all the device's tokens.
-- Gives whether the token had expired; no row when it is not known.
with session as (
    select device_nid, coalesce(expires_at < now(), false) as expired
    from matriarch.access_tokens
    where token_hash = $1
),
device as (
    delete from matriarch.devices d
    using session s
    where d.device_nid = s.device_nid and not s.expired
)
select expired from session
