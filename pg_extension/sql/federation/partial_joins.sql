create function complete_partial_join(join_event_id text, state text[], states text, given_up text[])
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'complete_partial_join_wrapper';
comment on function complete_partial_join is
    'Makes a partial room whole, and judges the events of that time again. state: the ids of the events of '
    'the state before the join. states: as in receive_pdus, for events whose previous events cannot be '
    'obtained. given_up: the ids of such events whose states cannot be obtained either; NULL: all of them. '
    'If such an event is in neither, needs in the response names it, and nothing is done.';
