create function event_fields(json text, out state_key text, out prev_events text[], out auth_events text[])
returns setof record
language c immutable strict parallel safe rows 1
as 'MODULE_PATHNAME', 'event_fields_wrapper';
comment on function event_fields is
    'Fields that are only in an event''s JSON: the state_key, also of rejected events, and all events that '
    'it cites, stored or not. U+0000 is returned as U+FFFD.';
