-- Puts a partial join off: two seconds, then ever longer, up to ten minutes.
update matriarch.partial_joins
set leased_until = null,
    next_try_at = now() + least(interval '1 second' * 2 ^ least(attempts, 12), interval '10 minutes'),
    last_error = $2
where join_event_id = $1
