create function complete_partial_join(join_event_id text, state text[], states text, given_up text[])
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'complete_partial_join_wrapper';
comment on function complete_partial_join is
    'Makes a room whole that was partial, by the ids of the events of the state before the join; what was '
    'found out meanwhile is judged again. states: as for receive_pdus, for events before which others '
    'cannot be had; given_up: those whose state cannot be had either, NULL giving up all. Where they are in '
    'neither, the answer names them as needs, and nothing is done.';
