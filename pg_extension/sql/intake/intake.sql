-- Intake of remote events, and what a node reads before it fetches what they need.

create function receive_pdus(
    room_id text, room_version text, kind text, pdus text[], states text, given_up text
) returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'receive_pdus_wrapper';
comment on function receive_pdus is
    'Intake of PDUs of a room, in any order: judges and stores them, or returns what they need first. kind '
    'is live, relayed, backfilled or outlier. states: given states of events whose prev_events cannot be '
    'obtained, a JSON object from event ids to arrays of event ids. given_up: what cannot be obtained, a '
    'JSON object of arrays: keys (of servers), prev_events and policy_signatures (of events).';

create function unknown_events(event_ids text[]) returns setof text
language sql stable strict parallel safe security definer
as $$
    select event_id
    from unnest(event_ids) wanted (event_id)
    where not exists (select from events e where e.event_id = wanted.event_id)
$$;
comment on function unknown_events is 'The events of these that are not stored.';

create function room_extremities(room_id text, out forward_extremities text[], out first_depth bigint)
language sql stable strict parallel safe security definer
as $$
    select
        (
            select array_agg(e.event_id order by e.event_nid desc)
            from unnest(r.forward_extremities) x (event_nid)
            join events e on e.event_nid = x.event_nid
        ),
        (
            select e.depth
            from events e
            where e.room_nid = r.room_nid and e.pos is not null
            order by e.pos
            limit 1
        )
    from rooms r
    where r.room_id = room_extremities.room_id
$$;
comment on function room_extremities is
    'The room''s forward extremities, newest first, and the depth of the first event of its timeline here. '
    'Older events are fetched when somebody reads them.';

create function servers_to_ask(room_id text, excluded text, max integer) returns setof text
language sql stable strict parallel safe security definer
as $$
    select d.server_name
    from rooms r
    join destination_rooms dr on dr.room_nid = r.room_nid
    join destinations d on d.destination_nid = dr.destination_nid
    where r.room_id = servers_to_ask.room_id and dr.left_nid is null
        and d.failing_since is null and d.server_name <> excluded
    order by dr.joined_members desc, d.server_name
    limit max
$$;
comment on function servers_to_ask is
    'The other servers in the room that answer, without the excluded one. Servers with most members come '
    'first.';
