-- Ends a lease, and deletes the queue if it is empty. A transaction that stages events locks the queue's row
-- and increments `generation`. The locked row thus shows staged events that this statement's snapshot does
-- not. The row is locked first, because both branches would skip a row that changes while they wait for it.
-- $1 room, $2 origin, $3 the generation when the queue was leased
with held as (
    select generation from matriarch.inbound_queues where room_nid = $1 and origin = $2 for update
),
remaining as (
    select min(next_try_at) as next_try_at from matriarch.inbound_pdus where room_nid = $1 and origin = $2
),
emptied as (
    delete from matriarch.inbound_queues q
    using remaining, held
    where q.room_nid = $1 and q.origin = $2 and remaining.next_try_at is null and held.generation = $3
)
update matriarch.inbound_queues q
set leased_until = null,
    next_try_at = case when held.generation = $3 then coalesce(remaining.next_try_at, now()) else now() end
from remaining, held
where q.room_nid = $1 and q.origin = $2 and not (remaining.next_try_at is null and held.generation = $3)
