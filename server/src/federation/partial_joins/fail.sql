-- Ends the lease after a failure. The next attempt is due after 2 seconds, doubled each time, at most ten
-- minutes. $1 join event, $2 reason
update matriarch.partial_joins
set leased_until = null,
    next_try_at = now() + least(interval '1 second' * 2 ^ least(attempts, 12), interval '10 minutes'),
    last_error = $2
where join_event_id = $1
