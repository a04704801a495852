-- $1 user id. Deactivated accounts stay, so a name is never given out again.
select exists (
    select
    from matriarch.users
    join matriarch.accounts using (user_nid)
    where user_id = $1
) as taken
