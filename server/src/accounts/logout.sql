-- $1 access token hash. Deletes its device, and with it all the device's tokens. An expired token does as
-- well: it is all that a client has that was logged out softly. Returns its owner, and the rooms to wake; no
-- row if it is unknown.
with session as (
    select user_nid, device_nid
    from matriarch.access_tokens
    where token_hash = $1
),
device as (
    delete from matriarch.devices d
    using session s
    where d.device_nid = s.device_nid
    returning d.device_nid
)
select
    user_nid,
    false as expired,
    (select matriarch.device_list_rooms(array_agg(device_nid)) from device) as room_nids
from session
