-- Invites by third-party id.

create function begin_third_party_invite(token_hash bytea, room_id text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'begin_third_party_invite_wrapper';
comment on function begin_third_party_invite is 'POST /rooms/{roomId}/invite with a third-party id: what an identity server is to be told of the room and the user, if the user may invite.';

create function third_party_invite(origin text, room_id text, invite text, append boolean) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'third_party_invite_wrapper';
comment on function third_party_invite is 'Makes the invite of a user who proved to be the one with a third-party id, and appends it or gives it with the keys of the proof. origin is the server that asks, NULL where an identity server says it of a user of this one. Status 421 where another server is to make it.';
