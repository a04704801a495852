create function create_key_backup(token_hash bytea, content text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'create_key_backup_wrapper';
comment on function create_key_backup is 'POST /room_keys/version';

create function key_backup(token_hash bytea, version text) returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'key_backup_wrapper';
comment on function key_backup is
    'GET /room_keys/version/{version} and, where version is NULL, GET /room_keys/version';

create function update_key_backup(token_hash bytea, version text, content text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'update_key_backup_wrapper';
comment on function update_key_backup is 'PUT /room_keys/version/{version}';

create function delete_key_backup(token_hash bytea, version text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'delete_key_backup_wrapper';
comment on function delete_key_backup is 'DELETE /room_keys/version/{version}';

create function set_backup_keys(token_hash bytea, version text, room_id text, session_id text, content text)
returns setof response
language c volatile parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'set_backup_keys_wrapper';
comment on function set_backup_keys is
    'PUT /room_keys/keys/{roomId}/{sessionId}; without session_id, PUT /room_keys/keys/{roomId}; without '
    'both, PUT /room_keys/keys';

create function backup_keys(token_hash bytea, version text, room_id text, session_id text)
returns setof response
language c stable parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'backup_keys_wrapper';
comment on function backup_keys is
    'GET /room_keys/keys/{roomId}/{sessionId}; without session_id, GET /room_keys/keys/{roomId}; without '
    'both, GET /room_keys/keys';

create function delete_backup_keys(token_hash bytea, version text, room_id text, session_id text)
returns setof response
language c volatile parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'delete_backup_keys_wrapper';
comment on function delete_backup_keys is
    'DELETE /room_keys/keys/{roomId}/{sessionId}; without session_id, DELETE /room_keys/keys/{roomId}; '
    'without both, DELETE /room_keys/keys';
