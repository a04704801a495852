-- What this server signs for other servers, and its signing keys.

create function published_keys() returns text
language c stable parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'published_keys_wrapper';
comment on function published_keys is 'GET /_matrix/key/v2/server: this server''s keys, signed by each that is in use.';

create function sign_request(method text, uri text, destination text, content text) returns text
language c stable parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'sign_request_wrapper';
comment on function sign_request is 'The Authorization header of a request to another server. content is the body as JSON, NULL where there is none.';

create function sign_server_keys(responses text[]) returns text[]
language c stable strict parallel restricted security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'sign_server_keys_wrapper';
comment on function sign_server_keys is 'Adds this server''s signature, as a notary, to other servers'' published keys.';

create function rotate_signing_key() returns text
language c volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as 'MODULE_PATHNAME', 'rotate_signing_key_wrapper';
comment on function rotate_signing_key is 'Makes a new signing key, which signs from now on, and retires those in use. Returns its id.';
