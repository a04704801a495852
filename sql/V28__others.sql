-- Whom to ask for what an event needs, and how far back; rooms that users of this server are just joining.

create function room_extremities(room_id text, out forward_extremities text[], out first_depth bigint)
language sql stable strict parallel safe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select
        (
            select array_agg(e.event_id order by e.event_nid desc)
            from unnest(r.forward_extremities) head (event_nid)
            join events e on e.event_nid = head.event_nid
        ),
        (select e.depth from events e where e.room_nid = r.room_nid and e.pos is not null order by e.pos limit 1)
    from rooms r
    where r.room_id = room_extremities.room_id
$$;
comment on function room_extremities is 'The room''s forward extremities, newest first, and the depth of the first event of its timeline here. What is before that is fetched when somebody wants to read it.';

create function servers_to_ask(room_id text, beside text, max integer) returns setof text
language sql stable strict parallel safe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select d.server_name
    from rooms r
    join destination_rooms dr on dr.room_nid = r.room_nid
    join destinations d on d.destination_nid = dr.destination_nid
    where r.room_id = servers_to_ask.room_id and dr.left_nid is null
        and d.failing_since is null and d.server_name <> beside
    order by dr.joined_members desc, d.server_name
    limit max
$$;
comment on function servers_to_ask is 'Other servers in the room than one, those with most members first, as far as they answer.';

revoke all on function room_extremities, servers_to_ask from public;
grant execute on function room_extremities, servers_to_ask to matriarch_api;

create table joins_in_progress (
    room_id text collate "C" primary key,
    until   timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
comment on table joins_in_progress is 'Rooms of other servers that users of this one are just joining: the servers in it may send events before the state has come, and are kept waiting for a moment.';
comment on column joins_in_progress.until is 'When the join has failed at the latest, as far as senders are concerned. A node deletes the row when the join ends; its periodic task, what nodes left that died.';
grant select, insert, update, delete on joins_in_progress to matriarch_api;
