-- Accounts, devices and tokens of this server's users. Secrets are stored hashed.

create table accounts (
    user_nid       bigint primary key references users,
    password_hash  text,
    admin          boolean not null default false,
    created_at     timestamptz not null default now(),
    deactivated_at timestamptz,
    erased         boolean not null default false
);
comment on table accounts is 'Users of this server. A deactivated user''s name is never given out again.';
comment on column accounts.password_hash is 'PHC string (argon2id). Absent: no login by password.';
comment on column accounts.erased is 'Deactivated with the wish that those who join later see the user''s events redacted.';

create table devices (
    device_nid   bigint generated always as identity primary key,
    user_nid     bigint not null references accounts on delete cascade,
    device_id    text collate "C" not null,
    display_name text,
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz,
    last_seen_ip text,
    unique (user_nid, device_id)
);
comment on table devices is 'Logging out deletes the device.';
comment on column devices.last_seen_at is 'Coarse: written off the request''s path, not by each request.';

create table access_tokens (
    token_hash bytea primary key check (length(token_hash) = 32),
    user_nid   bigint not null references accounts on delete cascade,
    device_nid bigint not null references devices on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz
);
create index access_tokens_device on access_tokens (device_nid);
comment on table access_tokens is 'SHA-256 of the access token. Expired rows stay until a refresh or login replaces them: they tell the device that it may log in again.';

create table refresh_tokens (
    token_hash        bytea primary key check (length(token_hash) = 32),
    device_nid        bigint not null references devices on delete cascade,
    created_at        timestamptz not null default now(),
    replaced_by       bytea,
    access_token_hash bytea not null
);
create index refresh_tokens_device on refresh_tokens (device_nid);
comment on table refresh_tokens is 'SHA-256 of the refresh token. It stays good until the token that replaced it, or the access token given with that, is first used; then both rows of the old pair are deleted.';
comment on column refresh_tokens.replaced_by is 'Hash of the refresh token handed out for it; absent while unused.';
comment on column refresh_tokens.access_token_hash is 'The access token given with it.';

create table registration_tokens (
    token        text collate "C" primary key check (token ~ '^[A-Za-z0-9._~-]{1,64}$'),
    uses_allowed integer check (uses_allowed >= 0),
    uses         integer not null default 0,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz
);
comment on table registration_tokens is 'Tokens that let somebody register. uses_allowed absent: without limit.';

create table registration_nonces (
    nonce      text collate "C" primary key,
    expires_at timestamptz not null
);
create index registration_nonces_expiry on registration_nonces (expires_at);
comment on table registration_nonces is 'Nonces of registration by shared secret that were used. Deleted by a node''s periodic task after expires_at, when the nonce itself is no longer good.';

create table uia_sessions (
    session_hash bytea primary key check (length(session_hash) = 32),
    operation    text collate "C" not null,
    user_nid     bigint references accounts on delete cascade,
    request      bytea not null,
    completed    jsonb not null default '{}',
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index uia_sessions_expiry on uia_sessions (expires_at);
comment on table uia_sessions is 'User-interactive authentication under way, so that any node can finish what another began. Deleted when it has served, or by a node''s periodic task after expires_at.';
comment on column uia_sessions.session_hash is 'SHA-256 of the session id, which the client alone has.';
comment on column uia_sessions.operation is 'Method and endpoint that the session is bound to.';
comment on column uia_sessions.user_nid is 'Whose access token began it; absent for registration.';
comment on column uia_sessions.request is 'The first request''s body without auth, encrypted by a key that is made from the session id: it may hold a new password.';
comment on column uia_sessions.completed is 'Completed stages: what each proved, by its type. A registration token is counted when the account is made.';
