-- Invites that other servers send. origin is the server that sends.

create function federation_invite(origin text, room_id text, event_id text, request text)
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'federation_invite_wrapper';
comment on function federation_invite is
    'PUT /_matrix/federation/v2/invite/{roomId}/{eventId}. The outcome is needs_keys where the keys of '
    'the server that asks must be fetched first.';
