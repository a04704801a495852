-- This server's users on their way into rooms of other servers, and out of them.

create function sign_membership(
    token_hash bytea, room_id text, version text, membership text, template text, body text
) returns setof response
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'sign_membership_wrapper';
comment on function sign_membership is 'Completes and signs the user''s membership event from the template that a server in the room gave. The answer is {"event_id", "event"}.';

create function users_in_room(token_hash bytea, room_id text) returns setof response
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'users_in_room_wrapper';
comment on function users_in_room is 'Users whose servers may help the user into a room: who invited them, then some of its members.';

create function prepare_invite(token_hash bytea, room_id text, user_id text, content text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'prepare_invite_wrapper';
comment on function prepare_invite is 'Makes and signs the event that invites a user of another server, without appending it. The answer is {"event_id", "event", "room_version", "invite_room_state"}.';
