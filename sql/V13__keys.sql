-- Keys of end-to-end encryption. Read and written by the extension's functions only.

create table device_keys (
    user_nid   bigint not null references users,
    device_id  text collate "C" not null,
    device_nid bigint unique references devices on delete cascade,
    keys       text not null,
    primary key (user_nid, device_id)
);
comment on table device_keys is 'Identity keys of devices.';
comment on column device_keys.device_nid is 'Absent for devices of other servers'' users.';
comment on column device_keys.keys is 'The JSON object as uploaded, with its signatures, without unsigned.';

create sequence one_time_key_uploads as bigint;

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
create index one_time_keys_unclaimed on one_time_keys (device_nid, algorithm, upload_id) where claimed_at is null;
create index one_time_keys_claimed on one_time_keys (claimed_at) where claimed_at is not null;
comment on table one_time_keys is 'One-time keys. Those that were handed out stay for 30 days, so that an upload that is repeated cannot bring one back; a node''s periodic task deletes them.';
comment on column one_time_keys.upload_id is 'From one_time_key_uploads: keys are handed out in the order of their uploads.';
comment on column one_time_keys.timeline is 'System identifier and timeline of the cluster that took the key. On another one, after a restore or a failover that may have lost transactions, it may have been handed out already: it never is again.';
comment on column one_time_keys.claimed_at is 'When it was handed out; absent: not yet.';
comment on column one_time_keys.key is 'JSON as uploaded.';

create table fallback_keys (
    device_nid bigint not null references devices on delete cascade,
    algorithm  text collate "C" not null check (octet_length(algorithm) <= 255),
    key_id     text collate "C" not null check (octet_length(key_id) <= 255),
    used       boolean not null default false,
    key        text not null,
    primary key (device_nid, algorithm)
);
comment on table fallback_keys is 'Handed out when no one-time key is left, again and again until replaced.';

create table cross_signing_keys (
    user_nid   bigint not null references users,
    usage      text collate "C" not null check (usage in ('master', 'self_signing', 'user_signing')),
    public_key text collate "C" not null,
    keys       text not null,
    primary key (user_nid, usage)
);
comment on table cross_signing_keys is 'The newest of each kind.';
comment on column cross_signing_keys.public_key is 'ed25519, in unpadded base64.';
comment on column cross_signing_keys.keys is 'The JSON object as uploaded, with its signatures.';

create table key_signatures (
    user_nid      bigint not null references users,
    key_name      text collate "C" not null check (octet_length(key_name) <= 255),
    signer_nid    bigint not null references users,
    signer_key_id text collate "C" not null check (octet_length(signer_key_id) <= 263),
    signature     text not null,
    primary key (user_nid, key_name, signer_nid, signer_key_id)
);
comment on table key_signatures is 'Signatures uploaded for keys that are there already. Deleted with the device or the cross-signing key that they sign.';
comment on column key_signatures.user_nid is 'Whose key is signed.';
comment on column key_signatures.signer_key_id is '`ed25519:` and a device''s id of up to 255 bytes, or a public key.';
comment on column key_signatures.key_name is 'The signed device''s id, or the public key of the signed cross-signing key.';

-- What goes with a device, however it is deleted: tokens, keys and messages by their foreign keys, and this.
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
revoke all on function note_device_deletion from public;
create trigger device_deleted before delete on devices
for each row execute function note_device_deletion();

create function device_list_rooms(device_nids bigint[]) returns bigint[]
language sql stable security definer set search_path = matriarch, pg_temp
as $$
    select array_agg(distinct m.room_nid)
    from devices d
    join device_keys k on k.device_nid = d.device_nid
    join memberships m on m.user_nid = d.user_nid
    where d.device_nid = any(device_nids) and m.membership = 'join'
$$;
comment on function device_list_rooms is 'The rooms to wake when these devices are deleted or change: all that their users are in, if the devices have keys. In the statement that deletes them it sees them still.';
revoke all on function device_list_rooms from public;
grant execute on function device_list_rooms to matriarch_api;

-- No device may be named as one of its user's keys.
grant select (user_nid, public_key) on cross_signing_keys to matriarch_api;

create function prune_keys() returns void
language sql volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
    delete from one_time_keys where claimed_at < now() - interval '30 days';
    delete from device_list_changes c
    where created_at < now() - interval '90 days'
        and exists (
            select from device_list_changes n
            where n.user_nid = c.user_nid and n.stream_id > c.stream_id and n.audience is not distinct from c.audience
        );
$$;
comment on function prune_keys is 'Deletes one-time keys that were handed out long ago, and old changes of device lists but each user''s newest, so that the oldest sync token still learns that there was one. Nodes call it every few minutes.';
revoke all on function prune_keys from public;
grant execute on function prune_keys to matriarch_api;
