-- $1 session hash. A session can be used once: returns no row if another request has finished it.
delete from matriarch.uia_sessions
where session_hash = $1 and expires_at > now()
returning session_hash
