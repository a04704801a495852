-- The owner of an access token. $1 its hash.
select
    t.user_nid,
    u.user_id,
    t.device_nid,
    d.device_id,
    coalesce(t.expires_at < now(), false) as expired
from matriarch.access_tokens t
join matriarch.devices d using (device_nid)
join matriarch.users u on u.user_nid = t.user_nid
where t.token_hash = $1
