-- The event graph of a room as rows, and times that no calendar has.

-- Other servers' events may claim any time.
create function matrix.timestamp_or_null(milliseconds bigint) returns timestamptz
language sql immutable strict parallel safe
as $$
    -- From 4713 BC to 294276 AD, what the type holds.
    select case when milliseconds between -210866803200000 and 9224318015999999 then to_timestamp(milliseconds / 1000.0) end
$$;
comment on function matrix.timestamp_or_null is 'Milliseconds since 1970 as a time; NULL where the calendar of PostgreSQL does not reach.';
revoke all on function matrix.timestamp_or_null from public;
grant execute on function matrix.timestamp_or_null to matriarch_readonly, matriarch_api;

create or replace view matrix.events as
select
    e.event_id,
    r.room_id,
    e.type,
    case when e.status = 2 then matrix.json_or_null(e.json) ->> 'state_key' else k.state_key end as state_key,
    u.user_id as sender,
    matrix.timestamp_or_null(e.origin_server_ts) as sent_at,
    e.depth,
    e.pos as position,
    case e.status when 0 then 'accepted' when 1 then 'soft-failed' when 2 then 'rejected' else 'outlier' end as status,
    e.status_reason,
    x.event_id as redacted_by,
    matrix.json_or_null(e.json) -> 'content' as content,
    e.json
from matriarch.events e
join matriarch.rooms r on r.room_nid = e.room_nid
join matriarch.users u on u.user_nid = e.sender_nid
left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
left join matriarch.events x on x.event_nid = e.redacted_by;

create or replace view matrix.members as
select
    r.room_id,
    u.user_id,
    m.membership,
    m.display_name,
    m.avatar_url,
    s.user_id as sender,
    e.event_id,
    matrix.timestamp_or_null(e.origin_server_ts) as since
from matriarch.memberships m
join matriarch.rooms r on r.room_nid = m.room_nid
join matriarch.users u on u.user_nid = m.user_nid
join matriarch.users s on s.user_nid = m.sender_nid
join matriarch.events e on e.event_nid = m.event_nid;

create or replace function matrix.current_state(room_id text)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel safe rows 100 security definer set search_path = pg_catalog, pg_temp
as $$
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.rooms r
    join matriarch.room_state_keys k on k.room_nid = r.room_nid
    join matriarch.events e on e.event_nid = k.current_event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    where r.room_id = current_state.room_id
    order by k.type collate "C", k.state_key collate "C"
$$;

create or replace function matrix.state_at(event_id text)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
as $$
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.events at
    cross join lateral matriarch.state_entries(at.state_before) s
    join matriarch.room_state_keys k on k.room_nid = at.room_nid and k.key_idx = s.key_idx
    join matriarch.events e on e.event_nid = s.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    where at.event_id = state_at.event_id
    order by k.type collate "C", k.state_key collate "C"
$$;

comment on column matrix.events.sent_at is 'What the sender''s server claims (origin_server_ts); NULL for times beyond any calendar.';

create index events_not_shown on events (room_nid, event_nid) where status in (1, 2);
comment on index events_not_shown is 'Soft-failed and rejected events of a room, newest last.';

create function matrix.room_graph(room_id text, max_events integer default 100)
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
language sql stable strict parallel safe rows 100 security definer set search_path = pg_catalog, pg_temp
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
            where e.room_nid = room.room_nid and e.status in (1, 2)
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
        case e.status when 0 then 'accepted' when 1 then 'soft-failed' else 'rejected' end,
        e.status_reason,
        e.event_nid = any (room.forward_extremities),
        f.prev_events,
        array(
            select m.prev_event_id from matriarch.missing_prev_events m
            where m.room_nid = e.room_nid and m.prev_event_id = any (f.prev_events) and m.event_nid = e.event_nid
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
comment on function matrix.room_graph is 'The event graph of a room: its newest events, without outliers, an event a row; prev_events are the edges.';
revoke all on function matrix.room_graph from public;
grant execute on function matrix.room_graph to matriarch_readonly, matriarch_api;
