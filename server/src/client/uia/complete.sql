-- $1 session hash, $2 the stage completed on its fallback page. Returns no row if the session has ended.
update matriarch.uia_sessions
set completed = completed || $2
where session_hash = $1 and expires_at > now() and finished_at is null
returning session_hash
