create function published_keys() returns text
language c stable parallel restricted security definer
as 'MODULE_PATHNAME', 'published_keys_wrapper';
comment on function published_keys is
    'GET /_matrix/key/v2/server: this server''s keys, signed by each current one.';

create function sign_server_keys(responses text[]) returns text[]
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'sign_server_keys_wrapper';
comment on function sign_server_keys is
    'Adds this server''s signature, as a notary, to the published keys of other servers.';
