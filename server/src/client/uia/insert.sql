-- $1 session hash, $2 operation, $3 user_nid or null, $4 encrypted request, $5 completed stages, $6 lifetime
-- in seconds, $7 the documents presented or null
insert into matriarch.uia_sessions
    (session_hash, operation, user_nid, request, completed, expires_at, presented_terms)
values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7)
