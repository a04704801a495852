create function federation_hierarchy(origin text, room_id text, suggested_only boolean) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_hierarchy_wrapper';
comment on function federation_hierarchy is 'GET /_matrix/federation/v1/hierarchy/{roomId}';
