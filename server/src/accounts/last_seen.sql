-- When and where devices were last seen. $1 access token hashes, $2 when each was used, $3 by which addresses
-- A device is written at most once in three minutes. A device whose row is locked now is skipped until the
-- next time.
with seen as (
    select distinct on (t.device_nid) t.device_nid, s.seen_at, s.ip
    from unnest($1::bytea[], $2::timestamptz[], $3::text[]) s (token_hash, seen_at, ip)
    join matriarch.access_tokens t using (token_hash)
    order by t.device_nid, s.seen_at desc
),
due as (
    select d.device_nid, s.seen_at, s.ip
    from seen s
    join matriarch.devices d using (device_nid)
    where d.last_seen_at is null or d.last_seen_at < s.seen_at - interval '3 minutes'
    for no key update of d skip locked
)
update matriarch.devices d
set last_seen_at = u.seen_at, last_seen_ip = u.ip
from due u
where d.device_nid = u.device_nid
