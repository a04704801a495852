-- $1 session hash
select operation, user_nid, request, completed, presented_terms
from matriarch.uia_sessions
where session_hash = $1 and expires_at > now()
