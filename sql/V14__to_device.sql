-- Send-to-device messages.

create table to_device_messages (
    device_nid bigint not null references devices on delete cascade,
    message_id bigint not null generated always as identity,
    xid        xid8 not null default pg_current_xact_id(),
    message    text not null,
    primary key (device_nid, message_id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_insert_scale_factor = 0.2);
comment on table to_device_messages is 'Messages that devices have not acknowledged. A sync token acknowledges those that its snapshot sees, up to the message_id in it where the answer had no room for all; they are deleted after the answer.';
comment on column to_device_messages.message is 'The event as JSON text, with sender, type and content.';

create table to_device_transactions (
    device_nid bigint not null references devices on delete cascade,
    txn_id     text collate "C" not null,
    event_type text collate "C" not null,
    created_at timestamptz not null default now(),
    primary key (device_nid, txn_id, event_type)
);
create index to_device_transactions_age on to_device_transactions (created_at);
comment on table to_device_transactions is 'Requests to send to devices that were done, so that a repeated one does nothing. Deleted by a node''s periodic task after a week.';

-- For a node's periodic task.
grant select, delete on to_device_transactions to matriarch_api;
