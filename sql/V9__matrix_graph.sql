-- The event graph in the schema `matrix`. docs/sql.md describes it with examples. These functions find few rows in big
-- tables by their keys, whatever the planner guesses of the number of rows.

create function matrix.state_diff(old_event_id text, new_event_id text)
returns table (type text, state_key text, old_event_id text, new_event_id text)
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
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
comment on function matrix.state_diff is 'What differs between the states before two events of a room; an event is absent where a state has none. Reads only what differs.';

create function matrix.auth_chain(event_ids text[])
returns table (event_id text, type text, state_key text, sender text, depth bigint)
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
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
comment on function matrix.auth_chain is 'The auth events of events, theirs, and so on: oldest first, each once. What an event cites, so in room version 12 without the create event.';

create function matrix.auth_difference(event_ids text[])
returns table (event_id text, type text, state_key text, sender text, in_chains integer[])
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
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
comment on function matrix.auth_difference is 'The events that are in the full auth chain of some, but not all, of several sets of events; a set is a row of the array, shorter ones filled with NULL. in_chains tells in whose.';

create function matrix.resolve_state(event_ids text[])
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.resolve_state(resolve_state.event_ids) s
    join matriarch.room_state_keys k on k.room_nid = s.room_nid and k.key_idx = s.key_idx
    join matriarch.events e on e.event_nid = s.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.resolve_state is 'The state that a room would have if these events were its forward extremities, by the state resolution of the room''s version. Nothing is written.';

create function matrix.check_auth(
    event json, at text, out allowed boolean, out rule text, out reason text, out auth_events text[]
)
language sql stable strict parallel restricted security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
    select c.allowed, c.rule, c.reason, c.auth_events from matriarch.check_auth(event::text, at) c
$$;
comment on function matrix.check_auth(json, text) is 'The same at the state before an event of the room.';

create function matrix.explain_event(event_id text)
returns table (step integer, "check" text, passed boolean, rule text, reason text, events text[])
language sql stable strict parallel restricted rows 10 security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
    select x.step, x.check_name, x.passed, x.rule, x.reason,
        array(
            select e.event_id
            from unnest(x.event_nids) with ordinality n (event_nid, number)
            join matriarch.events e on e.event_nid = n.event_nid
            order by n.number
        )
    from matriarch.explain_event(explain_event.event_id) x
    order by x.step
$$;
comment on function matrix.explain_event is 'The checks that an event went through on receipt, taken again, and what became of it. passed is absent where a check could not be taken or is of the past; events are those that it looked at.';

create function matrix.explain_resolution(event_id text)
returns table (
    step integer, phase text, event_id text, type text, state_key text, sender text, allowed boolean, rule text, reason text
)
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
    select x.step, x.phase, e.event_id, e.type, k.state_key, u.user_id, x.allowed, x.rule, x.reason
    from matriarch.explain_resolution(explain_resolution.event_id) x
    join matriarch.events e on e.event_nid = x.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
    order by x.step
$$;
comment on function matrix.explain_resolution is 'How the state before an event was resolved from its prev_events, step by step: conflicts, auth difference, power events in their order with what each check said, mainline, other events, result. Only the prev_events where they agree.';

revoke all on function
    matrix.state_diff, matrix.auth_chain, matrix.auth_difference, matrix.resolve_state, matrix.check_auth(json, text),
    matrix.explain_event, matrix.explain_resolution
from public;
grant execute on function
    matrix.state_diff, matrix.auth_chain, matrix.auth_difference, matrix.resolve_state, matrix.check_auth(json, text),
    matrix.explain_event, matrix.explain_resolution
to matriarch_readonly;
