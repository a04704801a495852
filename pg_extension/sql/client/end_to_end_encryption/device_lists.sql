create function key_changes(token_hash bytea, "from" text, "to" text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'key_changes_wrapper';
comment on function key_changes is 'GET /keys/changes';

create function device_list_rooms(device_nids bigint[]) returns bigint[]
language sql stable security definer
as $$
    select array_agg(distinct m.room_nid)
    from devices d
    join device_keys k on k.device_nid = d.device_nid
    join memberships m on m.user_nid = d.user_nid
    where d.device_nid = any(device_nids) and m.membership = 'join'
$$;
comment on function device_list_rooms is
    'The rooms to wake when these devices change or are deleted: all rooms of their users, if the devices '
    'have keys. A statement that deletes devices still sees them.';
