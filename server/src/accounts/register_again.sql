-- Logs in again on the device of a registration whose answer was lost. $1 user_nid, $2 the password hash
-- that was checked, $3 device id, $4 display name or null, $5 access token hash, $6 lifetime of the access
-- token in seconds or null, $7 refresh token hash or null. Returns no row if the password was changed or the
-- account deactivated in the meantime.
with account as (
    select user_nid
    from matriarch.accounts
    where user_nid = $1 and password_hash = $2 and deactivated_at is null
    for share
),
device as (
    insert into matriarch.devices (user_nid, device_id, display_name)
    select user_nid, $3, $4
    from account
    on conflict (user_nid, device_id) do update set device_id = excluded.device_id
    returning user_nid, device_nid
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
select device_nid from device
