-- $1 session hash, $2 the result of the request
update matriarch.uia_sessions set result = $2 where session_hash = $1
