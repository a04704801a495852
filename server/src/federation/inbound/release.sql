-- Gives a lease back; the queue goes if it is empty. Whoever stages locks the queue's row and counts `generation` up: what this
-- statement's snapshot does not see of theirs, the row tells. So it is locked before both branches look at it: a row that changes
-- while one of them waits for it would be passed over by both.
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
