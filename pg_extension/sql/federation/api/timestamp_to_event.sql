create function federation_timestamp_to_event(origin text, room_id text, ts bigint, dir text)
returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_timestamp_to_event_wrapper';
comment on function federation_timestamp_to_event is 'GET /_matrix/federation/v1/timestamp_to_event/{roomId}';
