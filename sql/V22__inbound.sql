-- What other servers send in: acknowledged transactions, and the events of them that are not in their rooms yet. API nodes
-- read and write these tables with statements of their own.

create function room_heads(room_id text) returns text[]
language sql stable strict parallel safe security definer set search_path = matriarch, pg_temp
as $$
    select array_agg(e.event_id order by e.event_nid desc)
    from rooms r
    cross join lateral unnest(r.forward_extremities) head (event_nid)
    join events e on e.event_nid = head.event_nid
    where r.room_id = room_heads.room_id
$$;
comment on function room_heads is 'The room''s forward extremities, newest first; NULL where there are none.';

create function unknown_events(event_ids text[]) returns setof text
language sql stable strict parallel safe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select event_id
    from unnest(event_ids) wanted (event_id)
    where not exists (select from events e where e.event_id = wanted.event_id)
$$;
comment on function unknown_events is 'Those of these events that are not stored in any way.';

revoke all on function room_heads, unknown_events from public;
grant execute on function room_heads, unknown_events to matriarch_api;
