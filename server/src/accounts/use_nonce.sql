-- $1 nonce, $2 seconds until it would expire. Returns no row if it was used before.
insert into matriarch.registration_nonces (nonce, expires_at)
values ($1, now() + make_interval(secs => $2))
on conflict (nonce) do nothing
returning nonce
