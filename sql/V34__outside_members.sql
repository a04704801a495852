-- For operators: invites to rooms that only other servers are in.

create view matrix.outside_members as
select
    o.room_id,
    o.room_version,
    u.user_id,
    o.membership,
    s.user_id as sender,
    name.name
from matriarch.outside_memberships o
join matriarch.users u on u.user_nid = o.user_nid
join matriarch.users s on s.user_nid = o.sender_nid
left join lateral (
    select shown.event -> 'content' ->> 'name' as name
    from unnest(o.state) as state (json)
    cross join lateral (select matrix.json_or_null(state.json) as event offset 0) shown
    where shown.event ->> 'type' = 'm.room.name' and shown.event ->> 'state_key' = ''
    limit 1
) name on true;
comment on view matrix.outside_members is 'Users of this server who are invited to rooms that only other servers are in, knock there, or do so no longer.';
comment on column matrix.outside_members.membership is 'invite, knock or leave.';
comment on column matrix.outside_members.sender is 'Who invited; who ended it.';
comment on column matrix.outside_members.name is 'What the room is called, by what the other server told.';
grant select on matrix.outside_members to matriarch_readonly;
