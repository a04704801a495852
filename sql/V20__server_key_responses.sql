-- Keys of other servers as they published them, for those who ask this server as a notary.

create table server_key_responses (
    server_name    text collate "C" primary key check (octet_length(server_name) <= 255),
    valid_until_ts bigint not null,
    fetched_at     timestamptz not null default now(),
    response       text not null
);
comment on table server_key_responses is 'The newest answer of each server to GET /_matrix/key/v2/server. Kept: a notary goes on answering for servers that are gone.';
comment on column server_key_responses.response is 'JSON as the server signed it.';

grant select, insert, update on server_key_responses to matriarch_api;
grant select on server_keys to matriarch_api;
