-- $1 user_nid, $2 password hash, $3 whether other devices are logged out, $4 the device_nid that stays or null
-- Gives no row for a deactivated account.
with account as (
    update matriarch.accounts
    set password_hash = $2
    where user_nid = $1 and deactivated_at is null
    returning user_nid
),
others as (
    delete from matriarch.devices d
    using account a
    where $3 and d.user_nid = a.user_nid and d.device_nid is distinct from $4
)
select user_nid from account
