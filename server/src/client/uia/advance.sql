-- $1 session hash, $2 sealed request, $3 stages completed now. Gives no row when the session ended meanwhile.
update matriarch.uia_sessions
set completed = completed || $3, request = $2
where session_hash = $1 and expires_at > now()
returning completed
