-- Leases the partial join that has waited longest.
with due as (
    select p.join_event_id
    from matriarch.partial_joins p
    where p.room_nid is not null
        and p.next_try_at <= now()
        and (p.leased_until is null or p.leased_until < now())
        -- Other servers answer only while a local user is joined.
        and exists (
            select
            from matriarch.memberships m
            join matriarch.accounts a on a.user_nid = m.user_nid
            where m.room_nid = p.room_nid and m.membership = 'join'
        )
    order by p.next_try_at
    limit 1
    for update skip locked
)
update matriarch.partial_joins p
set leased_until = now() + interval '1 minute', attempts = p.attempts + 1
from due
join matriarch.partial_joins found using (join_event_id)
join matriarch.rooms r on r.room_nid = found.room_nid
where p.join_event_id = due.join_event_id
returning p.join_event_id, p.room_id, r.room_version, p.server_name, p.servers, p.attempts
