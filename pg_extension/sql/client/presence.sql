create function set_presence(token_hash bytea, user_id text, presence text, status_msg text)
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_presence_wrapper';
comment on function set_presence is 'PUT /presence/{userId}/status. status_msg may be NULL.';

create function presence(token_hash bytea, user_id text) returns setof response
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'presence_wrapper';
comment on function presence is 'GET /presence/{userId}/status';

create function note_presence(
    token_hashes bytea[], asked text[], seconds double precision[], active boolean[],
    out wake_rooms bigint[], out wake_users bigint[]
) returns setof record
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'note_presence_wrapper';
comment on function note_presence is
    'Records that devices, by their access tokens, sync with the set_presence in asked (NULL: they do not '
    'sync) and stay for so many seconds, or that their users were active. One row: the rooms and users to '
    'wake.';

create function expire_presence(out wake_rooms bigint[], out wake_users bigint[]) returns setof record
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'expire_presence_wrapper';
comment on function expire_presence is
    'Makes idle users unavailable, and users without devices offline, and repeats the presence of the others '
    'to other servers. One row: the rooms and users to wake. Nodes call it every other second.';
