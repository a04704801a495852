-- The oldest due events of a queue. $1 room, $2 origin, $3 limit
select inbound_id, event_id, attempts, json
from matriarch.inbound_pdus
where room_nid = $1 and origin = $2 and next_try_at <= now()
order by inbound_id
limit $3
