-- Rooms that are shared with other servers.

create index room_keys_member_server on room_keys (room_nid, substr(state_key, strpos(state_key, ':') + 1))
where type = 'm.room.member';
comment on index room_keys_member_server is 'The members that a server has, or had, in a room.';

create index events_by_time on events (room_nid, origin_server_ts, pos) where pos is not null;
comment on index events_by_time is 'The event closest to a time.';
