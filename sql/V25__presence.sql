-- Presence: who is there, of this server and of others.

create unlogged table presence (
    user_nid         bigint primary key,
    presence         text collate "C" not null default 'offline' check (presence in ('online', 'unavailable', 'offline')),
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
create index presence_there on presence (user_nid) where presence <> 'offline';
create index presence_checks on presence (check_at) where check_at is not null;
comment on table presence is 'The presence of users. Unlogged: a crash of the database forgets it, and clients that sync bring it back. Of rows, those of several users are locked in the order of user_nid, before anything of presence_devices.';
comment on column presence.presence is 'What the user''s devices come to, together; of users of other servers, what these say.';
comment on column presence.currently_active is 'The user counts as active until this changes, whatever last_active_at says: true for users of this server while they are online.';
comment on column presence.last_active_at is 'When the user last did something. Coarse: written every half minute at most.';
comment on column presence.changed_at is 'When presence, status_msg or currently_active last changed.';
comment on column presence.told_at is 'When the other servers were last told of it, or were last to be told.';
comment on column presence.check_at is 'When to look whether the user is idle or gone. It may be too early, for activity does not move it. Absent for users who are offline.';
comment on column presence.xid is 'Transaction of the last change that others are told of.';

create unlogged table presence_devices (
    device_nid bigint primary key,
    user_nid   bigint not null,
    asked      text collate "C" check (asked in ('online', 'unavailable')),
    presence   text collate "C" not null check (presence in ('online', 'unavailable')),
    until      timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index presence_devices_user on presence_devices (user_nid);
comment on table presence_devices is 'Devices of users who are there. The user''s row of presence is locked before it is written.';
comment on column presence_devices.asked is 'set_presence of its syncs; absent when it did not sync.';
comment on column presence_devices.presence is 'As asked, unless the client has said otherwise since, or the user was active.';
comment on column presence_devices.until is 'The device counts as gone then, unless it syncs again.';

grant select, delete on presence to matriarch_api;

create view matrix.presence as
select u.user_id, p.presence, p.status_msg, p.last_active_at, p.changed_at
from matriarch.presence p
join matriarch.users u on u.user_nid = p.user_nid;
comment on view matrix.presence is 'Who is there, as far as it is known: users of this server and those of others in its rooms.';
grant select on matrix.presence to matriarch_readonly;
