-- $1 session hash. A session that is finished is found if its request succeeded.
select operation, user_nid, request, completed, presented_terms, result
from matriarch.uia_sessions
where session_hash = $1 and expires_at > now() and (finished_at is null or result is not null)
