-- End-to-end encryption: keys, device lists, messages to devices, key backups. Read and written by the
-- extension's functions only, but for what the grants below say.

create table device_keys (
    user_nid   bigint not null references users,
    device_id  text collate "C" not null,
    device_nid bigint unique references devices on delete cascade,
    keys       text not null,
    primary key (user_nid, device_id)
);
comment on table device_keys is 'Identity keys of devices, of this server''s users and of others.';
comment on column device_keys.user_nid is 'The user.';
comment on column device_keys.device_id is 'The Matrix id of the device.';
comment on column device_keys.device_nid is 'The device. NULL: a device of a remote user.';
comment on column device_keys.keys is 'The JSON object as uploaded, with its signatures, without unsigned.';

create sequence one_time_key_uploads as bigint;
comment on sequence one_time_key_uploads is 'Numbers uploads of one-time keys.';

create table one_time_keys (
    device_nid bigint not null references devices on delete cascade,
    algorithm  text collate "C" not null check (octet_length(algorithm) <= 255),
    key_id     text collate "C" not null check (octet_length(key_id) <= 255),
    upload_id  bigint not null,
    timeline   text collate "C" not null,
    claimed_at timestamptz,
    key        text not null,
    primary key (device_nid, algorithm, key_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
create index one_time_keys_unclaimed on one_time_keys (device_nid, algorithm, upload_id)
where claimed_at is null;
create index one_time_keys_claimed on one_time_keys (claimed_at) where claimed_at is not null;
comment on table one_time_keys is
    'One-time keys. Those that were handed out stay for 30 days, so that a repeated upload cannot bring one '
    'back; the nodes'' housekeeping deletes them.';
comment on column one_time_keys.device_nid is 'The device.';
comment on column one_time_keys.algorithm is 'The algorithm; 255 bytes at most.';
comment on column one_time_keys.key_id is 'The id of the key; 255 bytes at most.';
comment on column one_time_keys.upload_id is
    'From one_time_key_uploads: keys are handed out in the order of their uploads.';
comment on column one_time_keys.timeline is
    'System identifier of the cluster that took the key, and timeline of its write-ahead log. On another '
    'one, after a restore or a failover that may have lost transactions, the key may have been handed out '
    'already; it never is again.';
comment on column one_time_keys.claimed_at is 'When it was handed out. NULL: not yet.';
comment on column one_time_keys.key is 'JSON as uploaded.';
comment on index one_time_keys_unclaimed is 'The next key to hand out.';
comment on index one_time_keys_claimed is 'For housekeeping.';

create table fallback_keys (
    device_nid bigint not null references devices on delete cascade,
    algorithm  text collate "C" not null check (octet_length(algorithm) <= 255),
    key_id     text collate "C" not null check (octet_length(key_id) <= 255),
    used       boolean not null default false,
    key        text not null,
    primary key (device_nid, algorithm)
);
comment on table fallback_keys is
    'Fallback keys. One is handed out when no one-time key is left, again and again until it is replaced.';
comment on column fallback_keys.device_nid is 'The device.';
comment on column fallback_keys.algorithm is 'The algorithm; 255 bytes at most.';
comment on column fallback_keys.key_id is 'The id of the key; 255 bytes at most.';
comment on column fallback_keys.used is 'Whether it was handed out.';
comment on column fallback_keys.key is 'JSON as uploaded.';

create table cross_signing_keys (
    user_nid   bigint not null references users,
    usage      text collate "C" not null check (usage in ('master', 'self_signing', 'user_signing')),
    public_key text collate "C" not null,
    keys       text not null,
    primary key (user_nid, usage)
);
comment on table cross_signing_keys is 'The newest cross-signing key of each user and usage.';
comment on column cross_signing_keys.user_nid is 'The user.';
comment on column cross_signing_keys.usage is 'master, self_signing or user_signing.';
comment on column cross_signing_keys.public_key is 'The ed25519 key in unpadded base64.';
comment on column cross_signing_keys.keys is 'The JSON object as uploaded, with its signatures.';

create table key_signatures (
    user_nid      bigint not null references users,
    key_name      text collate "C" not null check (octet_length(key_name) <= 255),
    signer_nid    bigint not null references users,
    signer_key_id text collate "C" not null check (octet_length(signer_key_id) <= 263),
    signature     text not null,
    primary key (user_nid, key_name, signer_nid, signer_key_id)
);
comment on table key_signatures is
    'Signatures that were uploaded for keys which were stored before. They are deleted with the device or '
    'the cross-signing key that they sign.';
comment on column key_signatures.user_nid is 'The user whose key is signed.';
comment on column key_signatures.key_name is
    'The signed device''s id, or the public key of the signed cross-signing key.';
comment on column key_signatures.signer_nid is 'The user who signed.';
comment on column key_signatures.signer_key_id is
    'The key that signed: ed25519:, and a device''s id of up to 255 bytes, or a public key.';
comment on column key_signatures.signature is 'The signature in unpadded base64.';

create table device_list_changes (
    user_nid   bigint not null references users,
    stream_id  bigint not null generated always as identity,
    device_id  text collate "C",
    audience   bigint references users,
    xid        xid8 not null default pg_current_xact_id(),
    created_at timestamptz not null default now(),
    primary key (user_nid, stream_id)
);
create index device_list_changes_xid on device_list_changes (xid);
create index device_list_changes_age on device_list_changes (created_at);
comment on table device_list_changes is
    'Changes of users'' devices, of their keys, names and signatures, and of cross-signing keys. Each '
    'user''s newest stays; the nodes'' housekeeping deletes older ones after 90 days.';
comment on column device_list_changes.user_nid is 'The user whose device list changed.';
comment on column device_list_changes.stream_id is
    'Ascending for each user: stream_id and prev_id of m.device_list_update.';
comment on column device_list_changes.device_id is
    'The device that changed or was deleted. NULL: cross-signing keys, or signatures of them.';
comment on column device_list_changes.audience is
    'The only user who sees the change: the one who signed another''s master key. NULL: the user, and all '
    'who share a room with the user.';
comment on column device_list_changes.xid is
    'The transaction of the change: tells whether a sync token saw it.';
comment on column device_list_changes.created_at is 'When the change was made.';
comment on index device_list_changes_xid is 'What changed since a sync token.';
comment on index device_list_changes_age is 'For housekeeping.';

create table remote_device_lists (
    user_nid     bigint primary key references users,
    server_name  text collate "C" not null,
    stream_id    bigint,
    updates      bigint not null default 0,
    stale_since  timestamptz,
    attempts     integer not null default 0,
    next_try_at  timestamptz not null default now(),
    leased_until timestamptz,
    last_error   text
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index remote_device_lists_stale on remote_device_lists (server_name, next_try_at)
where stale_since is not null;
comment on table remote_device_lists is
    'How far the device lists of remote users are known. A row is locked before the user''s device_keys and '
    'cross_signing_keys are written.';
comment on column remote_device_lists.user_nid is 'The user.';
comment on column remote_device_lists.server_name is 'The user''s server.';
comment on column remote_device_lists.stream_id is
    'stream_id of the update, or of the whole list, that device_keys are up to. NULL: no whole list was '
    'stored yet.';
comment on column remote_device_lists.updates is
    'Counts received updates: a whole list ends staleness only if none was received while it was fetched.';
comment on column remote_device_lists.stale_since is
    'Since when an update is missing; a node then fetches the whole list. NULL: none is missing.';
comment on column remote_device_lists.attempts is 'How often fetching the list has failed in a row.';
comment on column remote_device_lists.next_try_at is 'The list is not fetched before.';
comment on column remote_device_lists.leased_until is
    'A node fetches the list, until then at least. NULL: none does.';
comment on column remote_device_lists.last_error is 'Why fetching it last failed. NULL: it did not.';
comment on index remote_device_lists_stale is 'Lists that are to be fetched.';
grant select, update on remote_device_lists to matriarch_api;

-- What is deleted with a device, by whatever statement: foreign keys delete tokens, keys and messages, and
-- this the rest.
create function note_device_deletion() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
as $$
begin
    delete from key_signatures where user_nid = old.user_nid and key_name = old.device_id;
    if exists (select from device_keys where device_nid = old.device_nid) then
        perform record_generation();
        insert into device_list_changes (user_nid, device_id) values (old.user_nid, old.device_id);
    end if;
    return old;
end
$$;
comment on function note_device_deletion is
    'Trigger of devices: deletes the signatures of a deleted device''s keys, and records the change of the '
    'device list.';
revoke all on function note_device_deletion from public;
create trigger device_deleted before delete on devices
for each row execute function note_device_deletion();

-- No device has the id of a cross-signing key of its user, who uploads those under the lock of the user's row
-- of users.
create function keep_key_names() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
as $$
begin
    perform from users where user_nid = new.user_nid for share;
    -- A statement of its own: it sees what was committed while the lock was waited for.
    if exists (
        select from cross_signing_keys where user_nid = new.user_nid and public_key = new.device_id
    ) then
        return null;
    end if;
    return new;
end
$$;
comment on function keep_key_names is
    'Trigger of devices: inserts no device whose id is the public key of a cross-signing key of its user.';
revoke all on function keep_key_names from public;
create trigger device_inserted before insert on devices
for each row execute function keep_key_names();

create table to_device_messages (
    device_nid bigint not null references devices on delete cascade,
    message_id bigint not null generated always as identity,
    xid        xid8 not null default pg_current_xact_id(),
    message    text not null,
    primary key (device_nid, message_id)
) with (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0.2
);
comment on table to_device_messages is
    'Send-to-device messages that devices have not acknowledged. A sync token acknowledges those that its '
    'snapshot sees, up to the message_id in it where the answer had no room for all; they are deleted after '
    'the answer.';
comment on column to_device_messages.device_nid is 'The device that receives the message.';
comment on column to_device_messages.message_id is 'Messages are delivered in this order.';
comment on column to_device_messages.xid is
    'The transaction that stored it: tells whether a sync token saw it.';
comment on column to_device_messages.message is 'The event as JSON text, with sender, type and content.';

create table to_device_transactions (
    device_nid bigint not null references devices on delete cascade,
    txn_id     text collate "C" not null,
    event_type text collate "C" not null,
    created_at timestamptz not null default now(),
    primary key (device_nid, txn_id, event_type)
);
create index to_device_transactions_age on to_device_transactions (created_at);
comment on table to_device_transactions is
    'Requests to send to devices that were carried out, so that a repeated one does nothing. The nodes'' '
    'housekeeping deletes them after a week.';
comment on column to_device_transactions.device_nid is 'The device that sent the request.';
comment on column to_device_transactions.txn_id is 'Its transaction id.';
comment on column to_device_transactions.event_type is 'The event type in its path.';
comment on column to_device_transactions.created_at is 'When it was carried out.';
comment on index to_device_transactions_age is 'For housekeeping.';
grant select, delete on to_device_transactions to matriarch_api;

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
comment on table key_backup_versions is
    'Backups of room keys. The newest that is not deleted is the current one. Its row is locked before its '
    'keys are written.';
comment on column key_backup_versions.user_nid is 'The user.';
comment on column key_backup_versions.version is 'The version of the backup, from 1.';
comment on column key_backup_versions.deleted is
    'Whether it was deleted. Its keys are gone; the row stays, so that the version is not given out again.';
comment on column key_backup_versions.etag is 'Grows with each change of the keys.';
comment on column key_backup_versions.key_count is 'How many keys it holds.';
comment on column key_backup_versions.algorithm is 'The algorithm, as the client sent it.';
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
comment on table key_backup_keys is
    'Room keys in backups, encrypted by the clients. They are deleted with their version.';
comment on column key_backup_keys.user_nid is 'The user.';
comment on column key_backup_keys.version is 'The backup.';
comment on column key_backup_keys.room_id is
    'The Matrix id of the room, which need not be known here; 255 bytes at most.';
comment on column key_backup_keys.session_id is 'The id of the session; 255 bytes at most.';
comment on column key_backup_keys.first_message_index is 'As the client sent it.';
comment on column key_backup_keys.forwarded_count is 'As the client sent it.';
comment on column key_backup_keys.is_verified is 'As the client sent it.';
comment on column key_backup_keys.session_data is 'JSON as the client sent it.';

create table dehydrated_devices (
    user_nid    bigint primary key references accounts on delete cascade,
    device_nid  bigint not null unique references devices on delete cascade,
    device_data text not null
);
comment on table dehydrated_devices is
    'The one device of a user that receives messages while no client holds it (MSC3814). It has a row of '
    'devices, and keys, but no token.';
comment on column dehydrated_devices.user_nid is 'The user.';
comment on column dehydrated_devices.device_nid is 'The device.';
comment on column dehydrated_devices.device_data is 'JSON as the client sent it.';
-- Nobody logs in on it.
grant select (device_nid) on dehydrated_devices to matriarch_api;
