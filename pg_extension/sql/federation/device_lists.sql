create function shares_room_since(user_nid bigint, since xid8) returns boolean
language sql stable strict parallel safe security definer
as $$
    select exists (
        select
        from memberships m
        where m.user_nid = shares_room_since.user_nid and m.membership = 'join'
            and m.xid < shares_room_since.since
            and exists (
                select
                from server s
                join room_state_keys k
                    on k.room_nid = m.room_nid and k.type = 'm.room.member'
                    and substr(k.state_key, strpos(k.state_key, ':') + 1) = s.server_name
                cross join lateral (select user_nid from users where user_id = k.state_key offset 0) u
                cross join lateral (
                    select membership, xid
                    from memberships
                    where room_nid = k.room_nid and user_nid = u.user_nid
                    offset 0
                ) own
                where own.membership = 'join' and own.xid < shares_room_since.since
            )
    )
$$;
comment on function shares_room_since is
    'Whether a user and a local user are both joined in a room in which neither''s membership has changed '
    'since a transaction. A new name is a change too, so false does not mean that they shared none.';

create function device_lists_to_fetch(user_ids text[]) returns table (user_id text, updates bigint)
language sql stable strict parallel safe security definer
as $$
    select wanted.user_id, coalesce(l.updates, 0)
    from unnest(user_ids) as wanted (user_id)
    left join lateral (select user_nid from users where user_id = wanted.user_id offset 0) u on true
    left join lateral (select * from remote_device_lists where user_nid = u.user_nid offset 0) l on true
    where l.whole_xid is null or l.stale_since is not null or not shares_room_since(l.user_nid, l.whole_xid)
$$;
comment on function device_lists_to_fetch is
    'The remote users of these whose keys must be asked for, because no current device list is kept; with '
    'remote_device_lists.updates, for store_remote_keys.';

create function store_device_list(user_id text, updates bigint, answer text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'store_device_list_wrapper';
comment on function store_device_list is
    'Stores another server''s response to GET /_matrix/federation/v1/user/devices/{userId}. updates: the '
    'value of remote_device_lists.updates when the request was sent.';
