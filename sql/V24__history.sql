-- What of rooms' history is missing here, and is asked of other servers when somebody reads there.

create index missing_prev_events_event on missing_prev_events (event_nid);
comment on index missing_prev_events_event is 'Whether something is missing before an event.';

-- Events get steps of 2^20 as they come; those found later get places between.
create function is_live(pos bigint) returns boolean
language sql immutable strict parallel safe
as $$ select pos > 0 and pos % 1048576 = 0 $$;
comment on function is_live is 'Whether events.pos is that of an event that was new when it came; otherwise it was backfilled.';
revoke all on function is_live from public;

create table history_gaps (
    room_nid     bigint not null,
    event_id     text collate "C" not null,
    leased_until timestamptz,
    attempts     integer not null default 0,
    next_try_at  timestamptz not null default now(),
    last_error   text,
    primary key (room_nid, event_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index history_gaps_tried on history_gaps (next_try_at);
comment on table history_gaps is 'Gaps before events (rows of missing_prev_events) that a node is filling, or could not fill lately. Deleted when they are filled, and by a node''s periodic task a week after they may be tried again.';
comment on column history_gaps.room_nid is 'No foreign key: the check would wait for appends to the room.';
comment on column history_gaps.event_id is 'The event before which others are missing.';
comment on column history_gaps.leased_until is 'Some node asks other servers, until then at least; absent when none does.';
comment on column history_gaps.next_try_at is 'Until then nobody is asked, and readers pass over the gap.';
grant select, delete on history_gaps to matriarch_api;

create function claim_history_gap(room_id text, event_id text)
returns table (outcome text, room_version text, missing text[])
language sql volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    with gap as (
        select r.room_nid, r.room_version, e.event_nid, e.pos
        from rooms r
        join events e on e.event_id = claim_history_gap.event_id and e.room_nid = r.room_nid
        where r.room_id = claim_history_gap.room_id
            and exists (select from missing_prev_events m where m.event_nid = e.event_nid)
    ),
    lease as (
        insert into history_gaps as h (room_nid, event_id, leased_until)
        select gap.room_nid, claim_history_gap.event_id, now() + interval '60 seconds'
        from gap
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
                where h.room_nid = gap.room_nid and h.event_id = claim_history_gap.event_id and h.next_try_at > now()
            ) then 'backed off'
            else 'busy'
        end,
        gap.room_version,
        -- Gaps lie side by side where branches were cut off: what is missing before events near by is asked for too.
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
comment on function claim_history_gap is 'Leases the gap before an event for a minute: claimed; busy where another node has it; backed off where it could not be filled lately. No row where nothing is missing. missing: the events to ask for.';

create function finish_history_gap(room_id text, event_id text, error text) returns void
language sql volatile parallel unsafe security definer set search_path = matriarch, pg_temp
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
comment on function finish_history_gap is 'Ends the lease of a gap: it was filled if error is NULL; otherwise it is left alone for a while, four times as long each time, up to a day.';

create function history_servers(room_id text, event_id text) returns setof text
language sql stable parallel safe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    with room as (
        select r.room_nid from rooms r where r.room_id = history_servers.room_id
    ),
    heard_of as (
        -- Whoever made the event has what is before it.
        select u.user_id, 1000000000 as level
        from room
        join events e on e.event_id = history_servers.event_id and e.room_nid = room.room_nid
        join users u on u.user_nid = e.sender_nid
        union all
        select u.user_id, 10000000
        from room
        join room_state_keys k on k.room_nid = room.room_nid and k.type = 'm.room.create' and k.state_key = ''
        join events e on e.event_nid = k.current_event_nid
        join users u on u.user_nid = e.sender_nid
        union all
        select l.key, case when l.value ~ '^[0-9]{1,7}$' then l.value::integer else 0 end
        from room
        join room_state_keys k on k.room_nid = room.room_nid and k.type = 'm.room.power_levels' and k.state_key = ''
        join events e on e.event_nid = k.current_event_nid
        cross join lateral (select matrix.json_or_null(e.json) #> '{content,users}' as users offset 0) content
        cross join lateral jsonb_each_text(
            case when jsonb_typeof(content.users) = 'object' then content.users else '{}' end
        ) l
    ),
    levels as (
        select substr(user_id, strpos(user_id, ':') + 1) as server_name, max(level) as level
        from heard_of
        group by 1
    )
    select d.server_name
    from room
    join destination_rooms dr on dr.room_nid = room.room_nid
    join destinations d on d.destination_nid = dr.destination_nid
    left join levels l on l.server_name = d.server_name
    where dr.left_nid is null
    order by coalesce(d.retry_at > now(), false), coalesce(l.level, 0) desc, dr.joined_members desc, d.server_name
    limit 10
$$;
comment on function history_servers is 'Other servers in a room that are likely to have what is before an event, the likeliest first: its sender''s, those of users with power, those with most members; last those that did not answer lately. event_id may be NULL.';

revoke all on function claim_history_gap, finish_history_gap, history_servers from public;
grant execute on function claim_history_gap, finish_history_gap, history_servers to matriarch_api;
