-- Stores keys that a server published, and the whole answer, which this server returns as a notary. $1 server
-- name, $2 key ids, $3 public keys, $4 until when each is valid, $5 whether it is an old one, $6 until when
-- the answer may be used, $7 the answer, $8 whether the server itself gave it: a notary may give an older one
with response as (
    insert into matriarch.server_key_responses (server_name, valid_until_ts, response)
    values ($1, $6, $7)
    on conflict (server_name) do update
    set valid_until_ts = excluded.valid_until_ts,
        response = excluded.response,
        fetched_at = excluded.fetched_at
    where $8 or server_key_responses.valid_until_ts <= excluded.valid_until_ts
)
select matriarch.store_server_keys($1, $2, $3, $4, $5)
