-- $1 user_nid
select password_hash from matriarch.accounts where user_nid = $1 and deactivated_at is null
