create function upgrade_room(
    token_hash bytea, room_id text, request text, available_versions text[], tombstone text, created_at bigint
)
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'upgrade_room_wrapper';
comment on function upgrade_room is
    'POST /rooms/{roomId}/upgrade. available_versions: those that the request may name. tombstone and '
    'created_at are NULL, except in the second call, after the room''s policy server has signed the '
    'tombstone: the first call returned them with the outcome sign_first.';
