-- Ends the lease after a failure. The next attempt is due after 10 seconds, doubled each time, at most six
-- hours. $1 user, $2 reason
update matriarch.remote_device_lists
set leased_until = null,
    attempts = attempts + 1,
    next_try_at = now() + least(interval '10 seconds' * 2 ^ least(attempts, 20), interval '6 hours'),
    last_error = $2
where user_nid = $1
