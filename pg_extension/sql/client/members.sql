create function members(token_hash bytea, room_id text, at text, membership text, not_membership text)
returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'members_wrapper';
comment on function members is 'GET /rooms/{roomId}/members. at, membership and not_membership may be NULL.';

create function joined_members(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'joined_members_wrapper';
comment on function joined_members is 'GET /rooms/{roomId}/joined_members';

create function joined_rooms(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'joined_rooms_wrapper';
comment on function joined_rooms is 'GET /joined_rooms';
