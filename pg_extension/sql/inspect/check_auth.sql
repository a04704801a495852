create function check_auth(
    event text, at text default null,
    out allowed boolean, out rule text, out reason text, out auth_events text[]
) returns setof record
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'check_auth_wrapper';
comment on function check_auth is
    'Authorizes an event, as JSON, by the current state of its room, or by the state before the event at. '
    'rule: the number, in the specification of the room version, of the rule that rejects it. auth_events: '
    'the events of the state that the rules read.';
