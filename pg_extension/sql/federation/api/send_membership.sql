create function federation_send_membership(
    origin text, room_id text, event_id text, membership text, request text, omit_members boolean
) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'federation_send_membership_wrapper';
comment on function federation_send_membership is
    'PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, v1/send_knock and v2/send_leave. The outcome '
    'is needs_events if the event cannot be judged yet: the body has the event, which must go through intake '
    'first.';
