-- The account that a login names. $1, $2: the user ids that the given name may mean; the first one is
-- preferred.
select a.user_nid, u.user_id, a.password_hash, a.deactivated_at is not null as deactivated
from matriarch.users u
join matriarch.accounts a using (user_nid)
where u.user_id in ($1, $2)
order by u.user_id = $1 desc
limit 1
