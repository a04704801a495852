-- Deletes finished events ($3), and schedules the next attempt of others ($4 ids, $5 pauses in seconds, $6
-- errors).
with done as (
    delete from matriarch.inbound_pdus where room_nid = $1 and origin = $2 and inbound_id = any($3::bigint[])
)
update matriarch.inbound_pdus p
set attempts = p.attempts + 1, next_try_at = now() + w.pause * interval '1 second', last_error = w.error
from unnest($4::bigint[], $5::double precision[], $6::text[]) w (inbound_id, pause, error)
where p.room_nid = $1 and p.origin = $2 and p.inbound_id = w.inbound_id
