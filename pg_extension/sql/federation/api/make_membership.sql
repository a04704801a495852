create function federation_make_membership(
    origin text, room_id text, user_id text, membership text, versions text[]
) returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'federation_make_membership_wrapper';
comment on function federation_make_membership is
    'GET /_matrix/federation/v1/make_join/{roomId}/{userId}, make_knock and make_leave. membership is join, '
    'knock or leave. versions: the room versions that the origin supports; NULL: any.';
