-- What users keep and show: profiles, account data, filters, receipts, typing, presence.

create table profiles (
    user_nid bigint not null references users,
    key      text collate "C" not null check (octet_length(key) <= 255),
    value    text not null,
    primary key (user_nid, key)
);
comment on table profiles is 'Profile fields: displayname, avatar_url and others.';
comment on column profiles.user_nid is 'The user.';
comment on column profiles.key is 'Name of the field; 255 bytes at most.';
comment on column profiles.value is 'The field''s value as JSON text.';
grant select, insert, update, delete on profiles to matriarch_api;

create table account_data (
    user_nid bigint not null references accounts on delete cascade,
    room_nid bigint not null,
    type     text collate "C" not null,
    content  text not null,
    xid      xid8 not null default pg_current_xact_id(),
    primary key (user_nid, room_nid, type)
);
create index account_data_changes on account_data (user_nid, xid);
comment on table account_data is
    'Account data. Tags (type m.tag) and the fully read marker (type m.fully_read) are among them.';
comment on column account_data.user_nid is 'The user.';
comment on column account_data.room_nid is 'The room that it is about. 0: global account data.';
comment on column account_data.type is 'The type of the account data.';
comment on column account_data.content is 'JSON text as the client sent it.';
comment on column account_data.xid is 'The transaction of the last change.';
comment on index account_data_changes is 'What changed since a sync token.';
grant select, insert, update, delete on account_data to matriarch_api;

create table filters (
    user_nid     bigint not null references accounts on delete cascade,
    filter_id    bigint generated always as identity,
    content_hash bytea not null,
    content      text not null,
    primary key (user_nid, filter_id),
    unique (user_nid, content_hash)
);
comment on table filters is 'Uploaded filters. The same filter uploaded twice is one row.';
comment on column filters.user_nid is 'The user.';
comment on column filters.filter_id is 'The id by which the client names the filter.';
comment on column filters.content_hash is 'Hash of content: finds a filter that was uploaded before.';
comment on column filters.content is 'The filter as canonical JSON.';
grant select, insert, update, delete on filters to matriarch_api;

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
comment on table receipts is
    'The newest receipt of each user, receipt type and thread in a room. A receipt only moves forward.';
comment on column receipts.room_nid is 'The room.';
comment on column receipts.user_nid is 'The user.';
comment on column receipts.receipt_type is 'm.read or m.read.private.';
comment on column receipts.thread_id is
    'Event id of the thread''s root, or main. Empty: an unthreaded receipt.';
comment on column receipts.event_nid is 'The event that was read.';
comment on column receipts.pos is 'events.pos of the event: everything up to it has been read.';
comment on column receipts.ts is 'When it was read: milliseconds since 1970.';
comment on column receipts.xid is 'The transaction of the last change.';
comment on index receipts_changes is 'What changed in a room since a sync token.';

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
comment on table held_receipts is
    'The newest receipt of a remote user that came before its event. It takes effect with the next event of '
    'the room; the nodes'' housekeeping deletes it after an hour. Unlogged: a crash of the database forgets '
    'it, and the user''s next receipt makes up for it.';
comment on column held_receipts.room_nid is 'The room.';
comment on column held_receipts.user_nid is 'The user.';
comment on column held_receipts.thread_id is 'As in receipts.';
comment on column held_receipts.event_id is 'The Matrix id of the event that was read and is not stored yet.';
comment on column held_receipts.ts is 'When it was read: milliseconds since 1970.';
comment on column held_receipts.received_at is 'When the receipt was received.';
comment on index held_receipts_age is 'For housekeeping.';
grant select, delete on held_receipts to matriarch_api;

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
comment on table typing is
    'Users who are typing, or were in the last hour. Unlogged: a crash of the database forgets it.';
comment on column typing.room_nid is 'The room.';
comment on column typing.user_nid is 'The user.';
comment on column typing.expires_at is
    'When it ends unless the client repeats it; where typing is false, when it ended.';
comment on column typing.typing is
    'Whether the user is typing now. False rows stay for an hour, so that syncs see the change.';
comment on column typing.xid is
    'Transaction that last turned typing on or off. Repeating it while it is on leaves this as it is.';
comment on index typing_expiry is 'Typing that is to be ended.';
comment on index typing_stopped is 'Rows that are to be deleted.';

create unlogged table presence (
    user_nid         bigint primary key,
    presence         text collate "C" not null default 'offline'
                     check (presence in ('online', 'unavailable', 'offline')),
    status_msg       text,
    currently_active boolean not null default false,
    last_active_at   timestamptz,
    is_remote        boolean not null default false,
    changed_at       timestamptz not null default now(),
    told_at          timestamptz not null default now(),
    check_at         timestamptz,
    xid              xid8 not null default pg_current_xact_id()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index presence_changes on presence (xid);
create index presence_not_offline on presence (user_nid) where presence <> 'offline';
create index presence_checks on presence (check_at) where check_at is not null;
comment on table presence is
    'The presence of users. Unlogged: a crash of the database forgets it, and clients that sync restore it. '
    'Rows of several users are locked in the order of user_nid, before any row of presence_devices.';
comment on column presence.user_nid is 'The user.';
comment on column presence.presence is
    'online, unavailable or offline: of a local user, what the user''s devices amount to together; of a '
    'remote user, what the user''s server says.';
comment on column presence.status_msg is 'The text that the user shows. NULL: none.';
comment on column presence.currently_active is
    'Whether the user counts as active until this changes, whatever last_active_at says. True for local '
    'users while they are online.';
comment on column presence.last_active_at is
    'When the user last did something; written every half minute at most. NULL: not known.';
comment on column presence.is_remote is 'Whether the user belongs to another server.';
comment on column presence.changed_at is 'When presence, status_msg or currently_active last changed.';
comment on column presence.told_at is 'When the other servers were last told of it, or were last to be told.';
comment on column presence.check_at is
    'When to check whether the user is idle or gone. It may be too early, for activity does not move it. '
    'NULL for users who are offline.';
comment on column presence.xid is 'Transaction of the last change that other users are told of.';
comment on index presence_changes is 'What changed since a sync token.';
comment on index presence_not_offline is 'Users who are not offline.';
comment on index presence_checks is 'Users who are to be checked.';
grant select, delete on presence to matriarch_api;

create unlogged table presence_devices (
    device_nid bigint primary key,
    user_nid   bigint not null,
    asked      text collate "C" check (asked in ('online', 'unavailable')),
    presence   text collate "C" not null check (presence in ('online', 'unavailable')),
    until      timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index presence_devices_user on presence_devices (user_nid);
comment on table presence_devices is
    'Devices of users who are not offline. The user''s row of presence is locked before a row is written. '
    'Unlogged, as presence is.';
comment on column presence_devices.device_nid is 'The device.';
comment on column presence_devices.user_nid is 'The user.';
comment on column presence_devices.asked is 'set_presence of the device''s syncs. NULL: it did not sync.';
comment on column presence_devices.presence is
    'online or unavailable: as asked, unless the client has said otherwise since, or the user was active.';
comment on column presence_devices.until is 'When the device counts as gone, unless it syncs again.';
comment on index presence_devices_user is 'The devices of a user.';
