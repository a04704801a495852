-- The owner of an access token. $1 its hash.
select
    t.user_nid,
    u.user_id,
    t.device_nid,
    coalesce(t.expires_at < now(), false) as expired
from matriarch.access_tokens t
join matriarch.users u on u.user_nid = t.user_nid
where t.token_hash = $1
