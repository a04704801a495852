-- An answer was taken in, or is given up.
with events as (
    delete from matriarch.arriving_events where arrival_id = $1
)
update matriarch.arrivals set ended_at = now() where arrival_id = $1
