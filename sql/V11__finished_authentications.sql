-- Finished sessions of user-interactive authentication stay, so that a client that lost the answer can repeat
-- its last request.

alter table uia_sessions
    add column finished_at timestamptz,
    add column result jsonb;
comment on table uia_sessions is
    'Sessions of user-interactive authentication, so that any node can finish what another began, and repeat '
    'the answer. The nodes'' housekeeping deletes them after expires_at.';
comment on column uia_sessions.expires_at is 'When it ends, finished or not.';
comment on column uia_sessions.finished_at is
    'When a request completed the last stage, and so was carried out. NULL: none has. A session authorizes '
    'one request only.';
comment on column uia_sessions.result is
    'The answer to that request if it succeeded; for registration without tokens. NULL: it failed, or is '
    'still being carried out.';
