-- The account that a login names. $1, $2: the user ids that the given name may mean; the first one is
-- preferred. $3 the network that the login comes from: whether a device of the account was seen there
select
    a.user_nid,
    u.user_id,
    a.password_hash,
    a.deactivated_at is not null as deactivated,
    exists (
        select
        from matriarch.devices d
        where d.user_nid = a.user_nid and d.last_seen_ip::inet <<= $3::text::inet
    ) as seen_here
from matriarch.users u
join matriarch.accounts a using (user_nid)
where u.user_id in ($1, $2)
order by u.user_id = $1 desc
limit 1
