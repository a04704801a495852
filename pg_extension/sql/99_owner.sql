-- Functions run with the owner's rights, which are far less than those of the superuser who installs; only API
-- nodes may call them, unless an area's file granted more.
do $$
declare
    routine regprocedure;
begin
    for routine in
        select p.oid::regprocedure
        from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'matriarch'
    loop
        execute format('alter function %s owner to matriarch_owner', routine);
        execute format('revoke all on function %s from public', routine);
        execute format('grant execute on function %s to matriarch_api', routine);
    end loop;
end
$$;
alter type response owner to matriarch_owner;

-- For the owner only.
revoke execute on function state_set_many from matriarch_api;
