-- Keys of end-to-end encryption: names that are taken, and what is not needed any more.

-- No device is named as a cross-signing key of its user, who uploads those under the lock of their row of users.
create function keep_key_names() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
as $$
begin
    perform from users where user_nid = new.user_nid for share;
    -- Another statement: it sees what the lock was waited for.
    if exists (select from cross_signing_keys where user_nid = new.user_nid and public_key = new.device_id) then
        return null;
    end if;
    return new;
end
$$;
comment on function keep_key_names is 'Makes no device under the name of a cross-signing key of its user.';
revoke all on function keep_key_names from public;
create trigger device_named before insert on devices
for each row execute function keep_key_names();

-- As before; and who is deactivated has left all rooms, so that nobody is to learn anything.
create or replace function prune_keys() returns void
language sql volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
    delete from one_time_keys where claimed_at < now() - interval '30 days';
    delete from device_list_changes c
    where created_at < now() - interval '90 days' and (
        exists (
            select from device_list_changes n
            where n.user_nid = c.user_nid and n.stream_id > c.stream_id and n.audience is not distinct from c.audience
        )
        or exists (select from accounts a where a.user_nid = c.user_nid and a.deactivated_at is not null)
    );
$$;
comment on function prune_keys is 'Deletes one-time keys that were handed out long ago, and old changes of device lists but each user''s newest, so that the oldest sync token still learns that there was one; of deactivated users all. Nodes call it every few minutes.';

create function delete_cross_signing_keys(owner bigint) returns void
language plpgsql volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
begin
    perform from users where user_nid = owner for no key update;
    delete from key_signatures where user_nid = owner;
    delete from cross_signing_keys where user_nid = owner;
    if found then
        perform record_generation();
        insert into device_list_changes (user_nid) values (owner);
    end if;
end
$$;
comment on function delete_cross_signing_keys is 'Deletes a user''s cross-signing keys, and all signatures of them and of the user''s devices: the account is deactivated.';
revoke all on function delete_cross_signing_keys from public;
grant execute on function delete_cross_signing_keys to matriarch_api;

-- Now the trigger looks.
revoke select (user_nid, public_key) on cross_signing_keys from matriarch_api;

-- Where a plan is turned off, its cost has plans compiled that take no time: 300 ms for each change of a device list.
alter function queue_device_list_change set jit = off;
alter function claim_history_gap set jit = off;
alter function history_servers set jit = off;
alter function room_extremities set jit = off;
alter function servers_to_ask set jit = off;
alter function unknown_events set jit = off;
