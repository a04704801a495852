-- The values of the domain event_status, by name. The planner replaces a call by its constant, so that
-- indexes with such conditions are used.

create function accepted() returns smallint
language sql immutable parallel safe
as $$ select 0::smallint $$;
comment on function accepted is 'events.status: the event passed all checks.';

create function soft_failed() returns smallint
language sql immutable parallel safe
as $$ select 1::smallint $$;
comment on function soft_failed is
    'events.status: the event passed the checks by its own history, but the room''s current state forbade '
    'it.';

create function rejected() returns smallint
language sql immutable parallel safe
as $$ select 2::smallint $$;
comment on function rejected is 'events.status: the authorization rules forbid the event.';

create function outlier() returns smallint
language sql immutable parallel safe
as $$ select 3::smallint $$;
comment on function outlier is
    'events.status: the event is not in the graph, and was not judged by the state before it.';
