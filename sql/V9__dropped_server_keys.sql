-- A notary goes on answering for keys that their servers do not publish any more.
create table dropped_server_keys (
    server_name text collate "C" not null,
    key_id      text collate "C" not null,
    dropped_at  timestamptz not null default now(),
    response    text not null,
    primary key (server_name, key_id)
);
comment on table dropped_server_keys is
    'Keys of other servers that a newer answer of the server does not have any more, also not among the old '
    'ones: the last answer that had them, for servers that ask this one as a notary. When keys are added, '
    'the newest of each server are kept.';
comment on column dropped_server_keys.server_name is 'The server.';
comment on column dropped_server_keys.key_id is 'Name of the key in signatures.';
comment on column dropped_server_keys.dropped_at is 'When the first answer without the key was stored.';
comment on column dropped_server_keys.response is 'JSON as the server signed it.';
grant select, insert, update, delete on dropped_server_keys to matriarch_api;
