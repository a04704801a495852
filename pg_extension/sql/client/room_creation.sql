create function create_room(
    token_hash bytea, request text, elsewhere text[], default_version text, available_versions text[]
)
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'create_room_wrapper';
comment on function create_room is
    'POST /createRoom. elsewhere: the invited users of other servers. The API node invites them afterwards, '
    'because their servers must sign the invites. default_version: the room version if the request names '
    'none; available_versions: those that it may name.';
