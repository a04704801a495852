-- Remote memberships: joins, knocks and leaves of local users in rooms that only remote servers are in.

create function sign_membership(
    token_hash bytea, room_id text, version text, membership text, template text, body text
) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'sign_membership_wrapper';
comment on function sign_membership is
    'Completes and signs the user''s membership event from the template of a resident server. The response '
    'is {"event_id", "event"}.';

create function servers_in_room(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'servers_in_room_wrapper';
comment on function servers_in_room is
    'Users whose servers may be resident servers for the user: the user who invited, then some members.';

create function leave_out_of_band(token_hash bytea, room_id text, event_id text, event text)
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'leave_out_of_band_wrapper';
comment on function leave_out_of_band is
    'Records that the user has left a room that this server has not joined. event is the leave event that '
    'another server accepted; NULL if none did.';

create function knock_out_of_band(token_hash bytea, room_id text, room_version text, event text, state text[])
returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'knock_out_of_band_wrapper';
comment on function knock_out_of_band is
    'Records that the user knocks at a room that this server has not joined. event is the event that another '
    'server accepted, state the stripped state that it returned.';
