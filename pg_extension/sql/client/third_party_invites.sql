create function begin_third_party_invite(token_hash bytea, room_id text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'begin_third_party_invite_wrapper';
comment on function begin_third_party_invite is
    'POST /rooms/{roomId}/invite with a third-party id: what the identity server is told of the room and of '
    'the user, if the user may invite.';
