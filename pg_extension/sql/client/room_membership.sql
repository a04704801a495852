create function "join"(token_hash bytea, room text, request text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'join_wrapper';
comment on function "join" is 'POST /join/{roomIdOrAlias} and POST /rooms/{roomId}/join';

create function set_membership(token_hash bytea, room text, action text, request text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_membership_wrapper';
comment on function set_membership is
    'POST /rooms/{roomId}/{action}: invite, leave, kick, ban, unban; POST /knock/{roomIdOrAlias}: knock';

create function forget(token_hash bytea, room_id text) returns setof response
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'forget_wrapper';
comment on function forget is 'POST /rooms/{roomId}/forget';
