-- For operators: invites to rooms that only other servers are in, and gaps in the history of rooms.

create view matrix.out_of_band_members as
select
    o.room_id,
    o.room_version,
    u.user_id,
    o.membership,
    s.user_id as sender,
    name.name
from matriarch.out_of_band_memberships o
join matriarch.users u on u.user_nid = o.user_nid
join matriarch.users s on s.user_nid = o.sender_nid
left join lateral (
    select shown.event -> 'content' ->> 'name' as name
    from unnest(o.state) as state (json)
    cross join lateral (select matrix.json_or_null(state.json) as event offset 0) shown
    where shown.event ->> 'type' = 'm.room.name' and shown.event ->> 'state_key' = ''
    limit 1
) name on true;
comment on view matrix.out_of_band_members is 'Users of this server who are invited to rooms that only other servers are in, knock there, or do so no longer.';
comment on column matrix.out_of_band_members.membership is 'invite, knock or leave.';
comment on column matrix.out_of_band_members.sender is 'Who invited; who ended it.';
comment on column matrix.out_of_band_members.name is 'What the room is called, by what the other server told.';
grant select on matrix.out_of_band_members to matriarch_readonly;


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
