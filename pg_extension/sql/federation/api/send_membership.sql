create function federation_send_membership(
    origin text, room_id text, event_id text, membership text, request text, omit_members boolean
) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'federation_send_membership_wrapper';
comment on function federation_send_membership is
    'PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, v1/send_knock, v2/send_leave: takes the event '
    'in. The outcome is needs_events where it depends on what is not known yet; the answer then has the '
    'event to be taken in first.';
