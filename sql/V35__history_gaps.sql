-- For operators: gaps in the history of rooms.

create view matrix.history_gaps as
select
    r.room_id,
    g.event_id,
    g.attempts,
    g.next_try_at,
    g.last_error,
    coalesce(g.leased_until > now(), false) as filling
from matriarch.history_gaps g
join matriarch.rooms r on r.room_nid = g.room_nid;
comment on view matrix.history_gaps is 'Gaps in rooms'' histories that other servers are asked to fill, or could not lately.';
comment on column matrix.history_gaps.event_id is 'The event before which others are missing.';
comment on column matrix.history_gaps.attempts is 'How often nobody could fill it.';
comment on column matrix.history_gaps.next_try_at is 'Until then it is passed over, whoever reads there.';
comment on column matrix.history_gaps.filling is 'A node asks other servers.';
grant select on matrix.history_gaps to matriarch_readonly;
