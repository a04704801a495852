-- The rooms that a deactivated user leaves. $1 user_nid.
select r.room_id
from matriarch.memberships m
join matriarch.rooms r using (room_nid)
where m.user_nid = $1 and m.membership in ('join', 'invite', 'knock')
order by r.room_nid
