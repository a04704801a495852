-- $1 user_nid, $2 whether the user asked to be erased Returns the rooms to wake. Without erasure the password
-- hash stays, so that only the owner can learn that the account is deactivated.
with account as (
    update matriarch.accounts
    set deactivated_at = coalesce(deactivated_at, now()),
        erased = erased or $2,
        password_hash = case when $2 then null else password_hash end
    where user_nid = $1
    returning user_nid
),
devices as (
    delete from matriarch.devices d
    using account a
    where d.user_nid = a.user_nid
    returning d.device_nid
),
profile as (
    delete from matriarch.profiles p
    using account a
    where $2 and p.user_nid = a.user_nid
),
account_data as (
    delete from matriarch.account_data d
    using account a
    where $2 and d.user_nid = a.user_nid
),
filters as (
    delete from matriarch.filters f
    using account a
    where $2 and f.user_nid = a.user_nid
),
erasures as (
    insert into matriarch.erasures (room_nid, user_nid, pos)
    select m.room_nid, m.user_nid, r.last_pos
    from account a
    join matriarch.memberships m on m.user_nid = a.user_nid
    join matriarch.rooms r on r.room_nid = m.room_nid
    where $2
    on conflict do nothing
),
key_backups as (
    delete from matriarch.key_backup_versions v
    using account a
    where v.user_nid = a.user_nid
)
select
    matriarch.device_list_rooms(array_agg(device_nid)) as room_nids,
    -- The devices are deleted, so no keys can be uploaded again.
    matriarch.delete_cross_signing_keys($1)
from devices
