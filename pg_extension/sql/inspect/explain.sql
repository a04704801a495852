create function explain_event(
    event_id text, out step integer, out check_name text, out passed boolean, out rule text, out reason text,
    out event_nids bigint[]
) returns setof record
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'explain_event_wrapper';
comment on function explain_event is
    'The checks that an event went through on receipt, applied again, and its status.';

create function explain_resolution(
    event_id text, out step integer, out phase text, out event_nid bigint, out allowed boolean, out rule text,
    out reason text
) returns setof record
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'explain_resolution_wrapper';
comment on function explain_resolution is 'The steps of the state resolution before an event.';

create function resolve_state(
    event_ids text[], out room_nid bigint, out key_idx integer, out event_nid bigint
)
returns setof record
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'resolve_state_wrapper';
comment on function resolve_state is
    'The state that a room would have if these events were its forward extremities.';
