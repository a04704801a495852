-- $1 session hash, $2 sealed request, $3 stages completed now, $4 the documents presented or null.
-- Gives no row when the session ended meanwhile.
update matriarch.uia_sessions
set completed = completed || $3, request = $2, presented_terms = $4
where session_hash = $1 and expires_at > now()
returning completed
