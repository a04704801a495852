-- Keeps the last answer that had keys which the newest answer does not have. The newest 20 keys of a server
-- are kept. $1 server name, $2 key ids, $3 the answer
with dropped as (
    insert into matriarch.dropped_server_keys (server_name, key_id, response)
    select $1, key_id, $3 from unnest($2::text[]) as key_id limit 20
    on conflict (server_name, key_id) do update
    set dropped_at = excluded.dropped_at, response = excluded.response
)
delete from matriarch.dropped_server_keys d
using (
    select key_id
    from matriarch.dropped_server_keys
    where server_name = $1 and not key_id = any($2::text[])
    order by dropped_at desc, key_id
    offset greatest(20 - cardinality($2::text[]), 0)
) old
where d.server_name = $1 and d.key_id = old.key_id
