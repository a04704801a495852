-- Replays of refresh tokens, and the policies that users agree to as they register.

create table revoked_refresh_tokens (
    token_hash bytea primary key check (length(token_hash) = 32),
    device_nid bigint not null references devices on delete cascade,
    was_used   boolean not null,
    revoked_at timestamptz not null default now()
);
create index revoked_refresh_tokens_device on revoked_refresh_tokens (device_nid);
create index revoked_refresh_tokens_age on revoked_refresh_tokens (revoked_at);
comment on table revoked_refresh_tokens is 'Refresh tokens that were good once, for as long as their device''s session lasts, and at most a week: a node''s periodic task deletes them.';
comment on column revoked_refresh_tokens.was_used is 'The pair that it was exchanged for was used. Whoever comes with it now has a copy: the session ends. False: it died unused.';
grant select, insert, delete on revoked_refresh_tokens to matriarch_api;

comment on column access_tokens.expires_at is 'Absent: never. -infinity: the session was ended, because a refresh token was replayed.';

create table agreed_terms (
    user_nid  bigint not null references accounts on delete cascade,
    policy_id text collate "C" not null,
    version   text collate "C" not null,
    agreed_at timestamptz not null default now(),
    primary key (user_nid, policy_id, version)
);
comment on table agreed_terms is 'Policy documents that users agreed to as they registered.';
grant select, insert on agreed_terms to matriarch_api;

alter table uia_sessions add column presented_terms jsonb;
comment on column uia_sessions.presented_terms is 'The versions, by policy id, of the documents that the client was shown last.';
