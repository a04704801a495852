create function push_rules(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'push_rules_wrapper';
comment on function push_rules is 'GET /pushrules/';

create function push_rules_global(token_hash bytea) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'push_rules_global_wrapper';
comment on function push_rules_global is 'GET /pushrules/global/';
