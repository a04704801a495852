-- $1 user_nid, $2 the device_nid that stays or null
delete from matriarch.devices where user_nid = $1 and device_nid is distinct from $2
