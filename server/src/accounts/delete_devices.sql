-- $1 user_nid, $2 the device_nid to keep or null. Returns the rooms to wake.
with devices as (
    delete from matriarch.devices
    where user_nid = $1 and device_nid is distinct from $2
    returning device_nid
)
select matriarch.device_list_rooms(array_agg(device_nid)) as room_nids from devices
