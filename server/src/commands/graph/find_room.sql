-- $1: a room id, or a room alias.
select r.room_id
from matriarch.rooms r
where r.room_id = $1
    or r.room_nid in (select a.room_nid from matriarch.room_aliases a where a.room_alias = $1)
