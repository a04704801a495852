-- Creates an account, with or without a login, in one step. $1 user id, $2 password hash or null, $3 admin,
-- $4 display name as JSON, $5 registration token or null, $6 device id or null for no login, $7 device
-- display name or null, $8 access token hash, $9 lifetime of the access token in seconds or null, $10 refresh
-- token hash or null, $11 versions of the documents agreed to, by their ids, or null Returns whether the
-- registration token was valid, and whether the name was free.
with registration_token as (
    -- The lock makes this check and the count below atomic.
    select token
    from matriarch.registration_tokens
    where token = $5
        and (uses_allowed is null or uses < uses_allowed)
        and (expires_at is null or expires_at > now())
    for update
),
new_user as (
    -- A user that a room mentions already has a row.
    insert into matriarch.users (user_id)
    select $1
    where $5::text is null or exists (select from registration_token)
    on conflict (user_id) do update set user_id = excluded.user_id
    returning user_nid
),
account as (
    insert into matriarch.accounts (user_nid, password_hash, admin)
    select user_nid, $2, $3
    from new_user
    on conflict (user_nid) do nothing
    returning user_nid
),
counted as (
    update matriarch.registration_tokens
    set uses = uses + 1
    where token = $5 and exists (select from account)
),
profile as (
    insert into matriarch.profiles (user_nid, key, value)
    select user_nid, 'displayname', $4
    from account
    on conflict (user_nid, key) do update set value = excluded.value
),
agreed_terms as (
    insert into matriarch.agreed_terms (user_nid, policy_id, version)
    select a.user_nid, t.key, t.value
    from account a
    cross join lateral jsonb_each_text($11) t
),
device as (
    insert into matriarch.devices (user_nid, device_id, display_name)
    select user_nid, $6, $7
    from account
    where $6::text is not null
    returning user_nid, device_nid
),
access_token as (
    insert into matriarch.access_tokens (token_hash, user_nid, device_nid, expires_at)
    select $8, user_nid, device_nid, now() + make_interval(secs => $9)
    from device
),
refresh_token as (
    insert into matriarch.refresh_tokens (token_hash, device_nid, access_token_hash)
    select $10, device_nid, $8
    from device
    where $10::bytea is not null
)
select
    $5::text is null or exists (select from registration_token) as token_served,
    exists (select from account) as name_free
