-- $1 access token hash. Deletes all devices of its owner. Returns its owner, whether it had expired, and the
-- rooms to wake; no row if it is unknown.
with session as (
    select user_nid, coalesce(expires_at < now(), false) as expired
    from matriarch.access_tokens
    where token_hash = $1
),
devices as (
    delete from matriarch.devices d
    using session s
    where d.user_nid = s.user_nid and not s.expired
    returning d.device_nid
)
select
    user_nid,
    expired,
    (select matriarch.device_list_rooms(array_agg(device_nid)) from devices) as room_nids
from session
