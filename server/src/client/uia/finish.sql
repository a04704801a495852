-- $1 session hash. A session can be used once: returns no row if another request has finished it.
update matriarch.uia_sessions
set finished_at = now()
where session_hash = $1 and expires_at > now() and finished_at is null
returning session_hash
