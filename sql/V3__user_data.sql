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
    pos          bigint not null,
    ts           bigint not null,
    xid          xid8 not null default pg_current_xact_id(),
    primary key (room_nid, user_nid, receipt_type, thread_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index receipts_changes on receipts (room_nid, xid);
comment on table receipts is 'The newest receipt of each user, kind and thread. A receipt only moves forward.';
comment on column receipts.thread_id is 'Event id of the thread''s root, ''main'', or '''' for an unthreaded receipt.';
comment on column receipts.pos is 'events.pos of the event: what is up to it has been read.';
comment on column receipts.ts is 'Milliseconds since 1970.';

create unlogged table typing (
    room_nid   bigint not null,
    user_nid   bigint not null,
    expires_at timestamptz not null,
    typing     boolean not null,
    xid        xid8 not null default pg_current_xact_id(),
    primary key (room_nid, user_nid)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
create index typing_expiry on typing (expires_at) where typing;
create index typing_stopped on typing (expires_at) where not typing;
comment on table typing is 'Who types, or did lately. Unlogged: a crash of the database forgets it.';
comment on column typing.typing is 'Types now. False rows stay for an hour, so that syncs see the change.';
comment on column typing.expires_at is 'When it ends unless the client repeats it; where typing is false, when it ended.';
comment on column typing.xid is 'Transaction that last turned typing on or off. Repeating it while it is on leaves this as it is.';
