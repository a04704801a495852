-- Making events. These functions run the same few statements all the time, and every one of them finds its rows by an index.
-- So their plans are made once (the plan cache would make them anew for each call, since it guesses arrays to be longer
-- than they are), and as for big tables (else those made while a database is new and empty scan its tables until the
-- next `analyze`).

create function initialize(server_name text) returns void
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'initialize_wrapper';
comment on function initialize is 'Records the name of the server that this database belongs to, and creates its first signing key. Idempotent; an ERROR if the name is another.';

create function send(
    room_ids text[], token_hashes bytea[], types text[], state_keys text[], txn_ids text[], contents text[], redacts text[]
) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'send_wrapper';
comment on function send is 'PUT send, PUT state and PUT redact: several requests, each with its own answer, in order. The arrays are of one length; state_keys, txn_ids and redacts hold NULL where a request has none.';

create function create_room(token_hash bytea, request text, elsewhere text[]) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'create_room_wrapper';
comment on function create_room is 'POST /createRoom. The API node invites those in elsewhere afterwards: users of other servers, who have to sign it.';

create function upgrade_room(token_hash bytea, room_id text, request text, tombstone text, created_at bigint) returns setof response
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'upgrade_room_wrapper';
comment on function upgrade_room is 'POST /rooms/{roomId}/upgrade. tombstone and created_at are NULL, but for the second attempt where the room''s policy server has signed the tombstone: status 428 gave them.';

create function "join"(token_hash bytea, room text, request text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'join_wrapper';
comment on function "join" is 'POST /join/{roomIdOrAlias} and POST /rooms/{roomId}/join';

create function set_membership(token_hash bytea, room text, action text, request text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'set_membership_wrapper';
comment on function set_membership is 'POST /rooms/{roomId}/{action}: invite, leave, kick, ban, unban; POST /knock/{roomIdOrAlias}: knock';

create function forget(token_hash bytea, room_id text) returns setof response
language c volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as 'MODULE_PATHNAME', 'forget_wrapper';
comment on function forget is 'POST /rooms/{roomId}/forget';

create function check_auth(
    event text, at text default null, out allowed boolean, out rule text, out reason text, out auth_events text[]
) returns setof record
language c stable parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'check_auth_wrapper';
comment on function check_auth is 'Judges an event, as JSON, by the authorization rules at its room''s current state, or at the state before another event of the room: the rule that rejects it, by its number in the text for the room''s version, and the events of the state that were asked.';
