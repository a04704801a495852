-- Creates a device for what an administrator does on behalf of a user. $1 user_nid, $2 device id, $3 access
-- token hash
with device as (
    insert into matriarch.devices (user_nid, device_id)
    values ($1, $2)
    returning user_nid, device_nid
)
insert into matriarch.access_tokens (token_hash, user_nid, device_nid)
select $3, user_nid, device_nid
from device
