create function check_auth(
    event text, at text default null,
    out allowed boolean, out rule text, out reason text, out auth_events text[]
) returns setof record
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'check_auth_wrapper';
comment on function check_auth is
    'Judges an event, as JSON, by the authorization rules at its room''s current state, or at the state '
    'before another event of the room: the rule that rejects it, by its number in the text for the room''s '
    'version, and the events of the state that were asked.';
