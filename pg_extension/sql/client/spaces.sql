-- Spaces and room summaries.

create function hierarchy(
    token_hash bytea, room_id text, "from" text, "limit" bigint, max_depth bigint, suggested_only boolean,
    elsewhere text
)
returns table (
    status smallint, outcome text, body text, wake_rooms bigint[], wake_users bigint[], needs text
)
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'hierarchy_wrapper';
comment on function hierarchy is
    'GET /rooms/{roomId}/hierarchy. from, limit and max_depth may be NULL. elsewhere: a JSON array of '
    '{room_id, answer}, the responses of other servers to GET /_matrix/federation/v1/hierarchy/{roomId}; or '
    'NULL. needs: a JSON array of {room_id, via}, the rooms that other servers should be asked about for a '
    'better response.';

create function room_summary(token_hash bytea, room text, elsewhere text) returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'room_summary_wrapper';
comment on function room_summary is
    'GET /room_summary/{roomIdOrAlias}. token_hash may be NULL: the request has no access token. elsewhere '
    'is that of hierarchy. The outcome is elsewhere if other servers must be asked.';
