-- Functions that read rooms. Their queries are planned once: parameters are arrays and ids, and always meant for indexes.

create function sync(token_hashes bytea[], requests text[])
returns table (status smallint, body text, changed boolean, user_nid bigint, room_nids bigint[])
language c stable strict parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as 'MODULE_PATHNAME', 'sync_wrapper';
comment on function sync is 'GET /sync, for several requests at once: a row for each, in order. A request is a JSON object of the query parameters since, filter, full_state and use_state_after. Where changed is false there is nothing new, and room_nids are the rooms to wait for.';

create function messages(token_hash bytea, room_id text, "from" text, "to" text, dir text, "limit" bigint, filter text) returns setof response
language c stable parallel restricted security definer
set search_path = matriarch, pg_temp set plan_cache_mode = force_generic_plan set jit = off
as 'MODULE_PATHNAME', 'messages_wrapper';
comment on function messages is 'GET /rooms/{roomId}/messages. from, to, limit and filter may be NULL.';
