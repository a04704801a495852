-- origin is the server that sent the request.

create function federation_event(origin text, event_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_event_wrapper';
comment on function federation_event is 'GET /_matrix/federation/v1/event/{eventId}';

create function federation_state(origin text, room_id text, event_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_state_wrapper';
comment on function federation_state is 'GET /_matrix/federation/v1/state/{roomId}';

create function federation_state_ids(origin text, room_id text, event_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_state_ids_wrapper';
comment on function federation_state_ids is 'GET /_matrix/federation/v1/state_ids/{roomId}';

create function federation_event_auth(origin text, room_id text, event_id text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_event_auth_wrapper';
comment on function federation_event_auth is 'GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}';
