create function prune_state_downloads() returns bigint
language plpgsql volatile strict parallel unsafe security definer
as $$
declare
    old bigint[];
    room_ids text[];
    unfinished bigint[];
begin
    select array_agg(a.download_id), array_agg(a.room_id)
    into old, room_ids
    from (
        select download_id, room_id
        from state_downloads
        where began_at < now() - interval '2 hours'
        order by download_id
        limit 10
        for update skip locked
    ) a;
    if old is null then
        return 0;
    end if;
    delete from state_download_events where download_id = any(old);
    delete from state_downloads where download_id = any(old);
    unfinished := array(
        select r.room_nid
        from rooms r
        where r.room_id = any(room_ids) and r.current_root = 0 and r.forward_extremities = '{}'
            and not exists (select from state_downloads a where a.room_id = r.room_id)
        order by r.room_nid
        for update
    );
    if unfinished = '{}' then
        return 0;
    end if;
    delete from event_auth_edges d
    using events e
    where e.event_nid = d.event_nid and e.room_nid = any(unfinished);
    delete from events where room_nid = any(unfinished);
    delete from rooms where room_nid = any(unfinished);
    return cardinality(unfinished);
end
$$;
comment on function prune_state_downloads is
    'Housekeeping: deletes state downloads that began two hours ago with their staged events, and rooms that '
    'got no state, because the node died or the join was refused, with their events. Returns the number of '
    'such rooms.';
