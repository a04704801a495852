-- Filling gaps in rooms' history.

create function claim_history_gap(room_id text, event_id text)
returns table (outcome text, room_version text, missing text[])
language sql volatile strict parallel unsafe security definer
as $$
    with gap as (
        select r.room_nid, r.room_version, r.partial, e.event_nid, e.pos
        from rooms r
        join events e on e.event_id = claim_history_gap.event_id and e.room_nid = r.room_nid
        where r.room_id = claim_history_gap.room_id
            and exists (select from missing_prev_events m where m.event_nid = e.event_nid)
    ),
    lease as (
        insert into history_gaps as h (room_nid, event_id, leased_until)
        select gap.room_nid, claim_history_gap.event_id, now() + interval '60 seconds'
        from gap
        where not gap.partial
        on conflict on constraint history_gaps_pkey do update
        set leased_until = excluded.leased_until
        where (h.leased_until is null or h.leased_until < now()) and h.next_try_at <= now()
        returning h.room_nid
    )
    select
        case
            when exists (select from lease) then 'claimed'
            when exists (
                select
                from history_gaps h
                where h.room_nid = gap.room_nid and h.event_id = claim_history_gap.event_id
                    and h.next_try_at > now()
            ) then 'backed off'
            else 'busy'
        end,
        gap.room_version,
        -- Gaps are close together where branches were cut off: the missing previous events of the events
        -- close by are asked for too.
        array(
            select m.prev_event_id
            from (
                select e.event_nid, e.pos
                from events e
                where e.room_nid = gap.room_nid and e.pos <= gap.pos
                order by e.pos desc
                limit 50
            ) near
            join missing_prev_events m on m.event_nid = near.event_nid
            order by near.pos desc, m.prev_event_id
            limit 20
        )
    from gap
$$;
comment on function claim_history_gap is
    'Leases a gap, named by the event after it, for a minute. outcome: claimed; busy if another node has the '
    'lease or the room is partial; backed off if the gap could not be filled lately. missing: the events to '
    'ask for. No row if nothing is missing.';

create function finish_history_gap(room_id text, event_id text, error text) returns void
language sql volatile parallel unsafe security definer
as $$
    delete from history_gaps h
    using rooms r
    where r.room_id = finish_history_gap.room_id and h.room_nid = r.room_nid
        and h.event_id = finish_history_gap.event_id and finish_history_gap.error is null;
    update history_gaps h
    set leased_until = null, attempts = h.attempts + 1, last_error = finish_history_gap.error,
        next_try_at = now() + least(interval '30 seconds' * 4 ^ least(h.attempts, 10), interval '1 day')
    from rooms r
    where r.room_id = finish_history_gap.room_id and h.room_nid = r.room_nid
        and h.event_id = finish_history_gap.event_id and finish_history_gap.error is not null;
$$;
comment on function finish_history_gap is
    'Ends the lease of a gap. error: NULL if the gap was filled; else the gap is not tried again for a time '
    'that grows fourfold with each attempt, up to a day.';

create function history_servers(room_id text, event_id text) returns setof text
language sql stable parallel safe security definer
as $$
    with room as (
        select r.room_nid from rooms r where r.room_id = history_servers.room_id
    ),
    candidates as (
        -- The server that made the event has its previous events.
        select u.server_name, 1000000000 as level
        from room
        join events e on e.event_id = history_servers.event_id and e.room_nid = room.room_nid
        join users u on u.user_nid = e.sender_nid
        union all
        select u.server_name, 10000000
        from room
        join room_state_keys k on k.room_nid = room.room_nid and k.type = 'm.room.create' and k.state_key = ''
        join events e on e.event_nid = k.current_event_nid
        join users u on u.user_nid = e.sender_nid
        union all
        select
            substr(l.key, strpos(l.key, ':') + 1),
            case when l.value ~ '^[0-9]{1,7}$' then l.value::integer else 0 end
        from room
        join room_state_keys k
            on k.room_nid = room.room_nid and k.type = 'm.room.power_levels' and k.state_key = ''
        join events e on e.event_nid = k.current_event_nid
        cross join lateral (select matrix.json_or_null(e.json) #> '{content,users}' as users offset 0) content
        cross join lateral jsonb_each_text(
            case when jsonb_typeof(content.users) = 'object' then content.users else '{}' end
        ) l
    ),
    levels as (
        select server_name, max(level) as level
        from candidates
        group by server_name
    )
    select d.server_name
    from room
    join destination_rooms dr on dr.room_nid = room.room_nid
    join destinations d on d.destination_nid = dr.destination_nid
    left join levels l on l.server_name = d.server_name
    where dr.left_nid is null
    order by
        coalesce(d.retry_at > now(), false), coalesce(l.level, 0) desc, dr.joined_members desc, d.server_name
    limit 10
$$;
comment on function history_servers is
    'The other servers in a room that are likely to have the previous events of an event, the likeliest '
    'first: the server of its sender, then those of users with power, then those with most members. Servers '
    'that did not answer lately are last. event_id may be NULL.';
