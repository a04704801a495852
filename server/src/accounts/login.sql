-- Logs in on a new device, or on a known one, whose earlier tokens are deleted. $1 user_nid, $2 the password
-- hash that was checked, $3 device id, $4 display name for a new device or null, $5 access token hash, $6
-- lifetime of the access token in seconds or null, $7 refresh token hash or null Of two logins on one device
-- at the same moment, both may keep their tokens. Returns no row if the password was changed or the account
-- deactivated in the meantime, and no device_nid if the device id is one of the user's cross-signing keys (a
-- trigger of `devices` checks) or that of the dehydrated device, or if the user has too many devices
-- (`is_full`).
with account as (
    select user_nid
    from matriarch.accounts
    where user_nid = $1 and password_hash = $2 and deactivated_at is null
    for share
),
full_account as (
    select count(*) >= 1000 and not bool_or(device_id = $3) as is_full
    from matriarch.devices
    where user_nid = $1
),
device as (
    insert into matriarch.devices (user_nid, device_id, display_name)
    select user_nid, $3, $4
    from account
    cross join full_account f
    where not f.is_full and not exists (
        select
        from matriarch.dehydrated_devices
        join matriarch.devices d using (device_nid)
        where d.user_nid = $1 and d.device_id = $3
    )
    on conflict (user_nid, device_id) do update set device_id = excluded.device_id
    returning user_nid, device_nid
),
old_access_tokens as (
    delete from matriarch.access_tokens t
    using device d
    where t.device_nid = d.device_nid
),
old_refresh_tokens as (
    delete from matriarch.refresh_tokens t
    using device d
    where t.device_nid = d.device_nid
),
revoked_refresh_tokens as (
    -- They belong to the session that ends here: replaying one must not end the new session.
    delete from matriarch.revoked_refresh_tokens t
    using device d
    where t.device_nid = d.device_nid
),
access_token as (
    insert into matriarch.access_tokens (token_hash, user_nid, device_nid, expires_at)
    select $5, user_nid, device_nid, now() + make_interval(secs => $6)
    from device
),
refresh_token as (
    insert into matriarch.refresh_tokens (token_hash, device_nid, access_token_hash)
    select $7, device_nid, $5
    from device
    where $7::bytea is not null
)
select d.device_nid, f.is_full
from account
cross join full_account f
left join device d using (user_nid)
