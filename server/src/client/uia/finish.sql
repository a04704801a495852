-- $1 session hash. A session serves once: gives no row when another request finished it.
delete from matriarch.uia_sessions
where session_hash = $1 and expires_at > now()
returning session_hash
