-- Explains why events were accepted or not, and checks and repairs the derived data of rooms.

create or replace function matrix.check_auth(
    event json, out allowed boolean, out rule text, out reason text, out auth_events text[]
)
language sql stable strict parallel restricted security definer
as $$
    select c.allowed, c.rule, c.reason, c.auth_events from matriarch.check_auth(event::text) c
$$;
comment on function matrix.check_auth(json) is
    'Whether the authorization rules of the room version allow an event (room_id, sender, type, content, '
    'state_key) in the current state of its room. rule: the number of the rule that rejects it. auth_events: '
    'the events of the state that the rules read.';

create or replace function matrix.check_auth(
    event json, at text, out allowed boolean, out rule text, out reason text, out auth_events text[]
)
language sql stable strict parallel restricted security definer
as $$
    select c.allowed, c.rule, c.reason, c.auth_events from matriarch.check_auth(event::text, at) c
$$;
comment on function matrix.check_auth(json, text) is
    'Like matrix.check_auth(json), with the state before the event at.';

create or replace function matrix.explain_event(event_id text)
returns table (step integer, "check" text, passed boolean, rule text, reason text, events text[])
language sql stable strict parallel restricted rows 10 security definer
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
comment on function matrix.explain_event is
    'The checks that an event went through on receipt, applied again, and its status. passed is NULL where a '
    'check could not be applied, or depends on the past. events are those that the check read.';

create or replace function matrix.explain_resolution(event_id text)
returns table (
    step integer, phase text, event_id text, type text, state_key text, sender text,
    allowed boolean, rule text, reason text
)
language sql stable strict parallel restricted rows 100 security definer
as $$
    select x.step, x.phase, e.event_id, e.type, k.state_key, u.user_id, x.allowed, x.rule, x.reason
    from matriarch.explain_resolution(explain_resolution.event_id) x
    join matriarch.events e on e.event_nid = x.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
    order by x.step
$$;
comment on function matrix.explain_resolution is
    'How the state before an event was resolved from the states after its prev_events, step by step: '
    'conflicts, auth difference, power events in their order with the result of each check, mainline, other '
    'events, result. Only the prev_events if their states agree.';

create or replace function matrix.verify_room(room_id text)
returns table ("check" text, event_id text, subject text, found text, expected text)
language sql stable strict parallel restricted rows 10 security definer
as $$
    select v.check_name, v.event_id, v.subject, v.found, v.expected
    from matriarch.verify_room(verify_room.room_id) v
$$;
comment on function matrix.verify_room is
    'Computes all that is derived of a room''s events again. A row for each disagreement with what is '
    'stored; none for a healthy room. Takes minutes in big rooms, reports its progress by NOTICEs, and '
    'blocks nobody.';

create or replace function matrix.repair_room(room_id text, dry_run boolean default true)
returns table ("check" text, event_id text, subject text, found text, expected text, action text)
language plpgsql volatile strict parallel unsafe rows 10 security definer
as $$
#variable_conflict use_column
declare
    -- Variables keep their values when a block is rolled back.
    disagreements matriarch.disagreement[];
begin
    begin
        disagreements := array(select d from matriarch.repair_room(repair_room.room_id) d);
        if repair_room.dry_run then
            raise exception using errcode = 'MA000', message = 'dry run';
        end if;
    exception
        when sqlstate 'MA000' then null;
    end;
    return query
    select d.check_name, d.event_id, d.subject, d.found, d.expected, d.action from unnest(disagreements) d;
end
$$;
comment on function matrix.repair_room is
    'Repairs what matrix.verify_room finds, in one transaction, under the room''s lock: nobody writes to the '
    'room meanwhile. A row for each disagreement. action is what was done; NULL if it cannot be repaired. A '
    'dry run does the same and rolls it back.';
