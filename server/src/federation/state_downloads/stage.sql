-- Stages events of a download, and counts them.
with staged as (
    insert into matriarch.state_download_events (download_id, number, json)
    select $1, number, json from unnest($2::bigint[], $3::text[]) as event (number, json)
)
update matriarch.state_downloads set events = events + cardinality($2::bigint[]) where download_id = $1
