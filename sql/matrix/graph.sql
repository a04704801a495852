-- The event graph of rooms.

create or replace function matrix.room_graph(room_id text, max_events integer default 100)
returns table (
    event_id             text,
    type                 text,
    state_key            text,
    sender               text,
    sent_at              timestamptz,
    depth                bigint,
    "position"           bigint,
    status               text,
    status_reason        text,
    is_forward_extremity boolean,
    prev_events          text[],
    missing_prev_events  text[],
    auth_events          text[]
)
language sql stable strict parallel safe rows 100 security definer
as $$
    with room as (
        select r.room_nid, r.forward_extremities from matriarch.rooms r where r.room_id = room_graph.room_id
    ),
    timeline as (
        select e.event_nid
        from room
        cross join lateral (
            select e.event_nid from matriarch.events e
            where e.room_nid = room.room_nid and e.pos is not null
            order by e.pos desc
            limit greatest(max_events, 0)
        ) e
    ),
    not_shown as (
        select e.event_nid
        from room
        cross join lateral (
            select e.event_nid from matriarch.events e
            where e.room_nid = room.room_nid and e.status in (matriarch.soft_failed(), matriarch.rejected())
            order by e.event_nid desc
            limit greatest(max_events, 0)
        ) e
    ),
    newest as (
        select event_nid from timeline
        union all
        select event_nid from not_shown
        order by event_nid desc
        limit greatest(max_events, 0)
    )
    select
        e.event_id,
        e.type,
        f.state_key,
        u.user_id,
        matrix.timestamp_or_null(e.origin_server_ts),
        e.depth,
        e.pos,
        matrix.status_name(e.status),
        e.status_reason,
        e.event_nid = any (room.forward_extremities),
        f.prev_events,
        array(
            select m.prev_event_id from matriarch.missing_prev_events m
            where m.room_nid = e.room_nid and m.prev_event_id = any (f.prev_events)
                and m.event_nid = e.event_nid
            order by m.prev_event_id
        ),
        f.auth_events
    from newest n
    join matriarch.events e on e.event_nid = n.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    cross join lateral matriarch.event_fields(e.json) f
    cross join room
    order by e.depth, e.event_nid
$$;
comment on function matrix.room_graph is
    'The newest events of a room''s event graph, a row for each, without outliers. prev_events are the '
    'edges.';

create or replace function matrix.state_diff(old_event_id text, new_event_id text)
returns table (type text, state_key text, old_event_id text, new_event_id text)
language sql stable strict parallel restricted rows 100 security definer
as $$
    select k.type, k.state_key, o.event_id, n.event_id
    from matriarch.events a
    join matriarch.events b on b.room_nid = a.room_nid
    cross join lateral matriarch.state_diff(a.state_before, b.state_before) d
    join matriarch.room_state_keys k on k.room_nid = a.room_nid and k.key_idx = d.key_idx
    left join matriarch.events o on o.event_nid = d.old_event_nid
    left join matriarch.events n on n.event_nid = d.new_event_nid
    where a.event_id = state_diff.old_event_id and b.event_id = state_diff.new_event_id
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.state_diff is
    'The differences of the states before two events of a room. An event is NULL where a state has none.';

create or replace function matrix.auth_chain(event_ids text[])
returns table (event_id text, type text, state_key text, sender text, depth bigint)
language sql stable strict parallel restricted rows 100 security definer
as $$
    with recursive chain (event_nid) as (
        select auth_nid
        from matriarch.events e
        cross join lateral unnest(e.auth_nids) auth_nid
        where e.event_id = any(auth_chain.event_ids)
        union
        select auth_nid
        from chain c
        join matriarch.events e on e.event_nid = c.event_nid
        cross join lateral unnest(e.auth_nids) auth_nid
    )
    select e.event_id, e.type, k.state_key, u.user_id, e.depth
    from chain c
    join matriarch.events e on e.event_nid = c.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
    order by e.event_nid
$$;
comment on function matrix.auth_chain is
    'The auth chain of events: their auth events, the auth events of these, and so on; oldest first. In room '
    'version 12 events do not cite the create event, so it is left out.';

create or replace function matrix.auth_difference(event_ids text[])
returns table (event_id text, type text, state_key text, sender text, in_chains integer[])
language sql stable strict parallel restricted rows 100 security definer
as $$
    with recursive sets (number, event_id) as (
        select i, event_ids[i][j]
        from generate_subscripts(event_ids, 1) i
        cross join generate_subscripts(event_ids, 2) j
        where event_ids[i][j] is not null
    ), chains (number, event_nid) as (
        select s.number, auth_nid
        from sets s
        join matriarch.events e on e.event_id = s.event_id
        cross join lateral unnest(e.auth_nids) auth_nid
        union
        select c.number, auth_nid
        from chains c
        join matriarch.events e on e.event_nid = c.event_nid
        cross join lateral unnest(e.auth_nids) auth_nid
    ), difference as (
        select c.event_nid, array_agg(c.number order by c.number) as in_chains
        from chains c
        group by c.event_nid
        having count(*) < (select count(distinct number) from sets)
    )
    select e.event_id, e.type, k.state_key, u.user_id, d.in_chains
    from difference d
    join matriarch.events e on e.event_nid = d.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
    order by e.event_nid
$$;
comment on function matrix.auth_difference is
    'The auth difference of several sets of events: the events that are in the full auth chains of some '
    'sets, but not of all. A set is a row of the array; NULLs fill shorter rows. in_chains: the numbers of '
    'the sets.';

create or replace function matrix.resolve_state(event_ids text[])
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel restricted rows 100 security definer
as $$
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.resolve_state(resolve_state.event_ids) s
    join matriarch.room_state_keys k on k.room_nid = s.room_nid and k.key_idx = s.key_idx
    join matriarch.events e on e.event_nid = s.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.resolve_state is
    'The current state that a room would have if these events were its forward extremities, by the state '
    'resolution of its room version. Nothing is written.';
