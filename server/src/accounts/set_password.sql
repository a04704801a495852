-- $1 user_nid, $2 password hash, $3 whether other devices are logged out, $4 the device_nid to keep or null.
-- Returns the rooms to wake; no row for a deactivated account.
with account as (
    update matriarch.accounts
    set password_hash = $2
    where user_nid = $1 and deactivated_at is null
    returning user_nid
),
others as (
    delete from matriarch.devices d
    using account a
    where $3 and d.user_nid = a.user_nid and d.device_nid is distinct from $4
    returning d.device_nid
)
select (select matriarch.device_list_rooms(array_agg(device_nid)) from others) as room_nids
from account
