-- origin is the server that sent the request.

create function federation_backfill(origin text, room_id text, event_ids text[], "limit" bigint)
returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_backfill_wrapper';
comment on function federation_backfill is 'GET /_matrix/federation/v1/backfill/{roomId}';

create function federation_missing_events(origin text, room_id text, request text) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_missing_events_wrapper';
comment on function federation_missing_events is 'POST /_matrix/federation/v1/get_missing_events/{roomId}';
