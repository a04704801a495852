-- Leases the queue that has waited longest, of an origin that has fewer than two leased queues.
with due as (
    select q.room_nid, q.origin, q.leased_until
    from matriarch.inbound_queues q
    where q.next_try_at <= now()
        and (q.leased_until is null or q.leased_until < now())
        and (
            select count(*)
            from matriarch.inbound_queues leased
            where leased.origin = q.origin and leased.leased_until > now()
        ) < 2
    order by q.next_try_at
    limit 1
    for update of q skip locked
)
update matriarch.inbound_queues q
set leased_until = now() + interval '30 seconds'
from due
join matriarch.rooms r on r.room_nid = due.room_nid
where q.room_nid = due.room_nid and q.origin = due.origin
returning q.room_nid, r.room_id, r.room_version, q.origin, q.generation,
    due.leased_until is not null as abandoned
