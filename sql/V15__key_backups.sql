-- Key backups and dehydrated devices.

create table key_backup_versions (
    user_nid  bigint not null references accounts on delete cascade,
    version   bigint not null check (version > 0),
    deleted   boolean not null default false,
    etag      bigint not null default 0,
    key_count bigint not null default 0,
    algorithm text not null,
    auth_data text not null,
    primary key (user_nid, version)
);
comment on table key_backup_versions is 'Backups of room keys. The newest that is not deleted is the current one. Its row lock is taken before its keys are written.';
comment on column key_backup_versions.deleted is 'Its keys are gone; the row stays, so that the version is not given out again.';
comment on column key_backup_versions.etag is 'Grows with each change of the keys.';
comment on column key_backup_versions.key_count is 'How many keys it holds.';
comment on column key_backup_versions.auth_data is 'JSON as the client sent it.';

-- Erasing an account deletes its backups.
grant select (user_nid), delete on key_backup_versions to matriarch_api;

create table key_backup_keys (
    user_nid            bigint not null,
    version             bigint not null,
    room_id             text collate "C" not null check (octet_length(room_id) <= 255),
    session_id          text collate "C" not null check (octet_length(session_id) <= 255),
    first_message_index bigint not null,
    forwarded_count     bigint not null,
    is_verified         boolean not null,
    session_data        text not null,
    primary key (user_nid, version, room_id, session_id),
    foreign key (user_nid, version) references key_backup_versions on delete cascade
);
comment on table key_backup_keys is 'Room keys in backups, encrypted by the clients. Deleted with their version.';
comment on column key_backup_keys.session_data is 'JSON as the client sent it.';

create table dehydrated_devices (
    user_nid    bigint primary key references accounts on delete cascade,
    device_nid  bigint not null unique references devices on delete cascade,
    device_data text not null
);
comment on table dehydrated_devices is 'The one device of a user that receives messages while no client holds it (MSC3814). It has a row in devices, and keys, but no token.';
-- Nobody logs in on it.
grant select (device_nid) on dehydrated_devices to matriarch_api;
comment on column dehydrated_devices.device_data is 'JSON as the client sent it.';
