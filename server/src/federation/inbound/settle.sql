-- Deletes finished events ($3), and schedules the next attempt of others ($4 ids, $5 pauses in seconds, $6
-- errors). Events of the room that wait and name one of those that were stored ($7 event ids) are due. Queues
-- are locked before their events, as by a transaction that stages events.
with done as (
    delete from matriarch.inbound_pdus where room_nid = $1 and origin = $2 and inbound_id = any($3::bigint[])
),
later as (
    update matriarch.inbound_pdus p
    set attempts = p.attempts + 1, next_try_at = now() + w.pause * interval '1 second', last_error = w.error
    from unnest($4::bigint[], $5::double precision[], $6::text[]) w (inbound_id, pause, error)
    where p.room_nid = $1 and p.origin = $2 and p.inbound_id = w.inbound_id
),
citing as materialized (
    select w.origin, w.inbound_id
    from (
        select origin, inbound_id, json
        from matriarch.inbound_pdus
        where room_nid = $1 and next_try_at > now() and $7::text[] <> '{}'
        order by inbound_id
        limit 1000
    ) w
    where exists (
        select from unnest($7::text[]) as stored (event_id) where strpos(w.json, stored.event_id) > 0
    )
),
locked as materialized (
    select q.origin
    from matriarch.inbound_queues q
    where q.room_nid = $1 and q.origin in (select origin from citing)
    order by q.origin
    for update
),
queues as (
    update matriarch.inbound_queues q
    set next_try_at = least(q.next_try_at, now()), generation = q.generation + 1
    from locked l
    where q.room_nid = $1 and q.origin = l.origin
    returning q.origin
)
update matriarch.inbound_pdus p
set next_try_at = now()
from citing c
join queues q on q.origin = c.origin
where p.room_nid = $1 and p.origin = c.origin and p.inbound_id = c.inbound_id
