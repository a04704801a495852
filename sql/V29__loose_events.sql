-- Old events that were asked for by themselves, so that nothing says what comes after them.

create table events_without_successor (
    event_nid  bigint primary key,
    room_nid   bigint not null references rooms on delete cascade,
    event_id   text collate "C" not null unique,
    created_at timestamptz not null default now()
);
create index events_without_successor_room on events_without_successor (room_nid);
comment on table events_without_successor is 'Backfilled events that no event before the forward extremities is known to come after. One that comes as a new event after all is taken for one: it gets a new place and becomes a forward extremity. Deleted then, when an event in place cites it, and by a node''s periodic task after 30 days.';
grant select, delete on events_without_successor to matriarch_api;
