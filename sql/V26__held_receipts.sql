-- Receipts of other servers' users for events that are not here yet.

create unlogged table held_receipts (
    room_nid    bigint not null,
    user_nid    bigint not null,
    thread_id   text collate "C" not null,
    event_id    text collate "C" not null,
    ts          bigint not null,
    received_at timestamptz not null default now(),
    primary key (room_nid, user_nid, thread_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index held_receipts_age on held_receipts (received_at);
comment on table held_receipts is 'The newest receipt of a user that came before its event. It takes effect with the next event of the room; deleted by a node''s periodic task after an hour. Unlogged: a crash of the database forgets it, and the user''s next receipt makes up for it.';
comment on column held_receipts.thread_id is 'As in receipts.';
comment on column held_receipts.ts is 'Milliseconds since 1970.';

grant select, delete on held_receipts to matriarch_api;
