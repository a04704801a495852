create function prepare_invite(token_hash bytea, room_id text, user_id text, content text)
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'prepare_invite_wrapper';
comment on function prepare_invite is
    'Makes and signs the event that invites a remote user, without appending it. The response is '
    '{"event_id", "event", "room_version", "invite_room_state"}.';
