-- This server's signing keys, and those of other servers.

create function sign_request(method text, uri text, destination text, content text) returns text
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'sign_request_wrapper';
comment on function sign_request is
    'The Authorization header of a request to another server. content is the body in canonical JSON; NULL '
    'without body.';

create function rotate_signing_key() returns text
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'rotate_signing_key_wrapper';
comment on function rotate_signing_key is
    'Makes a new signing key, which signs from now on, and expires the current ones. Returns its id.';

create function store_server_keys(
    server_name text, key_ids text[], public_keys text[], valid_until_ts bigint[], expired boolean[]
) returns void
language sql volatile strict parallel unsafe security definer
as $$
    insert into server_keys (server_name, key_id, public_key, valid_until_ts, expired)
    select store_server_keys.server_name, k.key_id, k.public_key,
        least(k.valid_until_ts, (extract(epoch from now() + interval '7 days') * 1000)::bigint), k.expired
    from unnest(key_ids, public_keys, valid_until_ts, expired)
        as k (key_id, public_key, valid_until_ts, expired)
    order by k.key_id
    on conflict (server_name, key_id) do update
    set public_key = excluded.public_key, valid_until_ts = excluded.valid_until_ts,
        expired = excluded.expired, fetched_at = excluded.fetched_at
    where not server_keys.expired
$$;
comment on function store_server_keys is
    'Stores keys that a server published. The caller has checked their signatures. A key that is stored as '
    'expired is not changed. No key may sign for longer than seven days after it was fetched: a server that '
    'lost a key can end it.';
