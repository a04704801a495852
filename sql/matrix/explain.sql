-- Why events were accepted or not, and whether what is stored of rooms is right.

create or replace function matrix.check_auth(
    event json, out allowed boolean, out rule text, out reason text, out auth_events text[]
)
language sql stable strict parallel restricted security definer
as $$
    select c.allowed, c.rule, c.reason, c.auth_events from matriarch.check_auth(event::text) c
$$;
comment on function matrix.check_auth(json) is
    'Whether an event (room_id, sender, type, content, state_key) would be allowed in its room as it is '
    'now, by the authorization rules of the room''s version; the rule that rejects it, by its number there; '
    'and the events it was judged by.';

create or replace function matrix.check_auth(
    event json, at text, out allowed boolean, out rule text, out reason text, out auth_events text[]
)
language sql stable strict parallel restricted security definer
as $$
    select c.allowed, c.rule, c.reason, c.auth_events from matriarch.check_auth(event::text, at) c
$$;
comment on function matrix.check_auth(json, text) is 'The same at the state before an event of the room.';

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
    'The checks that an event went through on receipt, taken again, and what became of it. passed is absent '
    'where a check could not be taken or is of the past; events are those that it looked at.';

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
    'How the state before an event was resolved from its prev_events, step by step: conflicts, auth '
    'difference, power events in their order with what each check said, mainline, other events, result. '
    'Only the prev_events where they agree.';

create or replace function matrix.verify_room(room_id text)
returns table ("check" text, event_id text, subject text, found text, expected text)
language sql stable strict parallel restricted rows 10 security definer
as $$
    select v.check_name, v.event_id, v.subject, v.found, v.expected
    from matriarch.verify_room(verify_room.room_id) v
$$;
comment on function matrix.verify_room is
    'Computes anew all that is derived of a room''s events; a row for each disagreement with what is '
    'stored, none for a healthy room. Takes minutes in big rooms, tells its progress by NOTICEs, and blocks '
    'nobody.';

create or replace function matrix.repair_room(room_id text, dry_run boolean default true)
returns table ("check" text, event_id text, subject text, found text, expected text, action text)
language plpgsql volatile strict parallel unsafe rows 10 security definer
as $$
#variable_conflict use_column
declare
    -- Variables keep their values when what happened in a block is undone.
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
    'Repairs what matrix.verify_room finds, in one transaction, under the room''s lock: nobody writes to '
    'the room meanwhile. A row for each disagreement with what was done about it; action is absent where '
    'nothing can be. A dry run does the same and undoes it.';
