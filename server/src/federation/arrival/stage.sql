-- Stages events of an answer, and counts them.
with staged as (
    insert into matriarch.arriving_events (arrival_id, number, json)
    select $1, number, json from unnest($2::bigint[], $3::text[]) as event (number, json)
)
update matriarch.arrivals set events = events + cardinality($2::bigint[]) where arrival_id = $1
