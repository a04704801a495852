-- What users keep: profiles, account data, filters, receipts, typing.

create table profiles (
    user_nid bigint not null references users,
    key      text collate "C" not null check (octet_length(key) <= 255),
    value    text not null,
    primary key (user_nid, key)
);
comment on table profiles is 'Profile fields: displayname, avatar_url and others.';
comment on column profiles.value is 'The field''s value as JSON text.';

create table account_data (
    user_nid bigint not null references accounts on delete cascade,
    room_nid bigint not null,
    type     text collate "C" not null,
    content  text not null,
    xid      xid8 not null default pg_current_xact_id(),
    primary key (user_nid, room_nid, type)
);
create index account_data_changes on account_data (user_nid, xid);
comment on table account_data is 'Account data; tags (type m.tag) and the fully read marker (type m.fully_read) among them.';
comment on column account_data.room_nid is '0 for global account data.';
comment on column account_data.content is 'JSON text as the client sent it.';

create table filters (
    user_nid     bigint not null references accounts on delete cascade,
    filter_id    bigint generated always as identity,
    content_hash bytea not null,
    content      text not null,
    primary key (user_nid, filter_id),
    unique (user_nid, content_hash)
);
comment on table filters is 'Uploaded filters; the same filter uploaded twice is one row.';

create table receipts (
    room_nid     bigint not null references rooms on delete cascade,
    user_nid     bigint not null references users,
    receipt_type text collate "C" not null check (receipt_type in ('m.read', 'm.read.private')),
    thread_id    text collate "C" not null default '',
    event_nid    bigint not null,
    ts           bigint not null,
    xid          xid8 not null default pg_current_xact_id(),
    primary key (room_nid, user_nid, receipt_type, thread_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index receipts_changes on receipts (room_nid, xid);
comment on table receipts is 'The newest receipt of each user, kind and thread.';
comment on column receipts.thread_id is 'Event id of the thread''s root, ''main'', or '''' for an unthreaded receipt.';
comment on column receipts.ts is 'Milliseconds since 1970.';

create unlogged table typing (
    room_nid   bigint not null,
    user_nid   bigint not null,
    expires_at timestamptz not null,
    xid        xid8 not null default pg_current_xact_id(),
    primary key (room_nid, user_nid)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
comment on table typing is 'Who types. Unlogged: a crash of the database forgets it.';
comment on column typing.expires_at is '-infinity once the user stopped: the row stays for a while, so that syncs see the change.';
