-- $1 user id. Accounts stay when they are deactivated, so a name is given out once.
select exists (
    select
    from matriarch.users
    join matriarch.accounts using (user_nid)
    where user_id = $1
) as taken
