-- Repairs the derived data of rooms.

create type disagreement as (
    check_name  text,
    event_id    text,
    subject     text,
    found       text,
    expected    text,
    action      text
);
comment on type disagreement is
    'A value that is derived from a room''s events and is not what follows from them.';
comment on column disagreement.check_name is 'The name of the check: see docs/sql.md.';
comment on column disagreement.event_id is 'The event that is wrong. NULL: the room as a whole.';
comment on column disagreement.subject is
    'The part of it: a column, a state key, a user, an event that it cites. NULL: the event or the room '
    'itself.';
comment on column disagreement.found is 'What is stored. NULL: nothing.';
comment on column disagreement.expected is 'What follows from the events. NULL: nothing.';
comment on column disagreement.action is 'What was done about it. NULL: it cannot be repaired.';

create function repair_room(room_id text) returns setof disagreement
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'repair_room_wrapper';
comment on function repair_room is 'Repairs what verify_room finds, under the room''s lock.';
