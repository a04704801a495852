-- origin is the server that sent the request.

create function federation_invite(
    origin text, room_id text, event_id text, request text, is_strict boolean
)
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'federation_invite_wrapper';
comment on function federation_invite is
    'PUT /_matrix/federation/v2/invite/{roomId}/{eventId}. The outcome is needs_keys if the signing keys of '
    'the origin must be fetched first. is_strict: whether an invite to a room whose id is made of the create '
    'event must come with signed events of the room.';
