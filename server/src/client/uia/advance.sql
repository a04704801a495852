-- $1 session hash, $2 encrypted request, $3 stages completed now, $4 the documents presented or null. Returns
-- no row if the session has ended.
update matriarch.uia_sessions
set completed = completed || $3, request = $2, presented_terms = $4
where session_hash = $1 and expires_at > now() and finished_at is null
returning completed
