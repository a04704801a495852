-- Accounts, devices and tokens of this server's users. Secrets are stored hashed. API nodes read and write
-- these rows without functions.

create table accounts (
    user_nid       bigint primary key references users,
    password_hash  text,
    admin          boolean not null default false,
    created_at     timestamptz not null default now(),
    deactivated_at timestamptz,
    erased         boolean not null default false
);
comment on table accounts is 'Users of this server. The name of a deactivated user is never given out again.';
comment on column accounts.user_nid is 'The user.';
comment on column accounts.password_hash is 'PHC string (argon2id). NULL: no login by password.';
comment on column accounts.admin is 'Whether the user is an administrator.';
comment on column accounts.created_at is 'When the account was made.';
comment on column accounts.deactivated_at is 'When the account was deactivated. NULL: it is in use.';
comment on column accounts.erased is
    'Whether the account was deactivated with the wish that users who join later see the user''s events '
    'redacted.';
grant select, insert, update, delete on accounts to matriarch_api;

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
comment on table devices is 'Devices of this server''s users. Logging out deletes the device.';
comment on column devices.device_nid is 'Number of the device here.';
comment on column devices.user_nid is 'The user.';
comment on column devices.device_id is 'The Matrix id of the device.';
comment on column devices.display_name is 'Its name for the user. NULL: none was given.';
comment on column devices.created_at is 'When the user logged in on it.';
comment on column devices.last_seen_at is
    'When it last sent a request. Nodes write it from time to time, not by each request. NULL: not yet.';
comment on column devices.last_seen_ip is 'The address that it last sent a request from. NULL: not known.';
grant select, insert, update, delete on devices to matriarch_api;

create table access_tokens (
    token_hash bytea primary key check (length(token_hash) = 32),
    user_nid   bigint not null references accounts on delete cascade,
    device_nid bigint not null references devices on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz
);
create index access_tokens_device on access_tokens (device_nid);
comment on table access_tokens is
    'Access tokens. Expired rows stay until a refresh or login replaces them: they tell the device that it '
    'may log in again.';
comment on column access_tokens.token_hash is 'SHA-256 of the access token.';
comment on column access_tokens.user_nid is 'The user.';
comment on column access_tokens.device_nid is 'The device.';
comment on column access_tokens.created_at is 'When it was given out.';
comment on column access_tokens.expires_at is
    'When it expires. NULL: never. -infinity: the session was ended because a refresh token was replayed.';
comment on index access_tokens_device is 'The tokens of a device.';
grant select, insert, update, delete on access_tokens to matriarch_api;

create table refresh_tokens (
    token_hash        bytea primary key check (length(token_hash) = 32),
    device_nid        bigint not null references devices on delete cascade,
    created_at        timestamptz not null default now(),
    replaced_by       bytea,
    access_token_hash bytea not null
);
create index refresh_tokens_device on refresh_tokens (device_nid);
comment on table refresh_tokens is
    'Refresh tokens. One stays good until the token that replaced it, or the access token given with that, '
    'is first used; then both rows of the old pair are deleted.';
comment on column refresh_tokens.token_hash is 'SHA-256 of the refresh token.';
comment on column refresh_tokens.device_nid is 'The device.';
comment on column refresh_tokens.created_at is 'When it was given out.';
comment on column refresh_tokens.replaced_by is
    'SHA-256 of the refresh token that was given out for it. NULL: it was not used yet.';
comment on column refresh_tokens.access_token_hash is
    'SHA-256 of the access token that was given out with it.';
comment on index refresh_tokens_device is 'The refresh tokens of a device.';
grant select, insert, update, delete on refresh_tokens to matriarch_api;

create table revoked_refresh_tokens (
    token_hash bytea primary key check (length(token_hash) = 32),
    device_nid bigint not null references devices on delete cascade,
    was_used   boolean not null,
    revoked_at timestamptz not null default now()
);
create index revoked_refresh_tokens_device on revoked_refresh_tokens (device_nid);
create index revoked_refresh_tokens_age on revoked_refresh_tokens (revoked_at);
comment on table revoked_refresh_tokens is
    'Refresh tokens that were good once, for as long as their device''s session lasts, and at most a week: '
    'the nodes'' housekeeping deletes them.';
comment on column revoked_refresh_tokens.token_hash is 'SHA-256 of the refresh token.';
comment on column revoked_refresh_tokens.device_nid is 'The device.';
comment on column revoked_refresh_tokens.was_used is
    'True: the pair that it was exchanged for was used. Whoever presents it now has a copy, so the session '
    'ends. False: it was revoked unused.';
comment on column revoked_refresh_tokens.revoked_at is 'When it was revoked.';
comment on index revoked_refresh_tokens_device is 'The revoked tokens of a device.';
comment on index revoked_refresh_tokens_age is 'For housekeeping.';
grant select, insert, delete on revoked_refresh_tokens to matriarch_api;

create table registration_tokens (
    token        text collate "C" primary key check (token ~ '^[A-Za-z0-9._~-]{1,64}$'),
    uses_allowed integer check (uses_allowed >= 0),
    uses         integer not null default 0,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz
);
comment on table registration_tokens is 'Tokens by which a user may register. Operators insert them.';
comment on column registration_tokens.token is 'The token, as the user types it.';
comment on column registration_tokens.uses_allowed is
    'How many accounts may be made with it. NULL: any number.';
comment on column registration_tokens.uses is 'How many accounts were made with it.';
comment on column registration_tokens.created_at is 'When it was made.';
comment on column registration_tokens.expires_at is 'When it expires. NULL: never.';
grant select, insert, update, delete on registration_tokens to matriarch_api;

create table registration_nonces (
    nonce      text collate "C" primary key,
    expires_at timestamptz not null
);
create index registration_nonces_expiry on registration_nonces (expires_at);
comment on table registration_nonces is
    'Nonces of registration by shared secret that were used. The nodes'' housekeeping deletes them after '
    'expires_at, when the nonce itself is no longer good.';
comment on column registration_nonces.nonce is 'The nonce.';
comment on column registration_nonces.expires_at is 'When the nonce ceases to be good.';
comment on index registration_nonces_expiry is 'For housekeeping.';
grant select, insert, update, delete on registration_nonces to matriarch_api;

create table uia_sessions (
    session_hash    bytea primary key check (length(session_hash) = 32),
    operation       text collate "C" not null,
    user_nid        bigint references accounts on delete cascade,
    request         bytea not null,
    completed       jsonb not null default '{}',
    presented_terms jsonb,
    created_at      timestamptz not null default now(),
    expires_at      timestamptz not null
);
create index uia_sessions_expiry on uia_sessions (expires_at);
comment on table uia_sessions is
    'Sessions of user-interactive authentication, so that any node can finish what another began. A session '
    'is deleted when it has served, and by the nodes'' housekeeping after expires_at.';
comment on column uia_sessions.session_hash is 'SHA-256 of the session id, which the client alone has.';
comment on column uia_sessions.operation is 'Method and endpoint that the session is bound to.';
comment on column uia_sessions.user_nid is 'The user whose access token began it. NULL: registration.';
comment on column uia_sessions.request is
    'The first request''s body without auth, encrypted by a key that is made from the session id: it may '
    'hold a new password.';
comment on column uia_sessions.completed is
    'Completed stages: what each proved, by its type. A registration token is counted when the account is '
    'made.';
comment on column uia_sessions.presented_terms is
    'The versions, by policy id, of the documents that the client was shown last. NULL: it was shown none.';
comment on column uia_sessions.created_at is 'When the session began.';
comment on column uia_sessions.expires_at is 'When it ends unless it is finished.';
comment on index uia_sessions_expiry is 'For housekeeping.';
grant select, insert, update, delete on uia_sessions to matriarch_api;

create table agreed_terms (
    user_nid  bigint not null references accounts on delete cascade,
    policy_id text collate "C" not null,
    version   text collate "C" not null,
    agreed_at timestamptz not null default now(),
    primary key (user_nid, policy_id, version)
);
comment on table agreed_terms is 'Policy documents that users agreed to when they registered.';
comment on column agreed_terms.user_nid is 'The user.';
comment on column agreed_terms.policy_id is 'The document''s id in the configuration.';
comment on column agreed_terms.version is 'The version that the user agreed to.';
comment on column agreed_terms.agreed_at is 'When the user agreed.';
grant select, insert on agreed_terms to matriarch_api;
