-- Leases up to $1 stale lists that are due. Only one list of each server is leased at a time.
with due as (
    select distinct on (l.server_name) l.user_nid
    from matriarch.remote_device_lists l
    where l.stale_since is not null
        and l.next_try_at <= now()
        and (l.leased_until is null or l.leased_until < now())
        and not exists (
            select
            from matriarch.remote_device_lists leased
            where leased.server_name = l.server_name
                and leased.stale_since is not null
                and leased.leased_until > now()
        )
    order by l.server_name, l.next_try_at
),
locked as (
    select l.user_nid
    from matriarch.remote_device_lists l
    join due using (user_nid)
    where l.leased_until is null or l.leased_until < now()
    order by l.user_nid
    limit $1
    for update of l skip locked
)
update matriarch.remote_device_lists l
set leased_until = now() + interval '60 seconds'
from locked
join matriarch.users u using (user_nid)
where l.user_nid = locked.user_nid
returning l.user_nid, u.user_id, l.server_name, l.updates
