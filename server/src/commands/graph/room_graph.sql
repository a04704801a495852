-- $1: the room's id; $2: the most events.
select
    g.event_id,
    g.type,
    g.state_key,
    g.sender,
    to_char(g.sent_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as sent_at,
    g.depth,
    g.status,
    g.status_reason,
    g.is_forward_extremity,
    g.prev_events,
    g.missing_prev_events
from matrix.room_graph($1, $2) g
