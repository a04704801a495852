-- Functions run with the owner's rights, which are far less than those of the superuser who installs; only API
-- nodes may call them, unless an area's file granted more.
do $$
declare
    routine regprocedure;
begin
    for routine in
        select p.oid::regprocedure
        from pg_proc p
        join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
        join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
        where e.extname = 'matriarch'
    loop
        execute format('alter function %s owner to matriarch_owner', routine);
        execute format('revoke all on function %s from public', routine);
        execute format('grant execute on function %s to matriarch_api', routine);
    end loop;
end
$$;
alter type response owner to matriarch_owner;
alter type disagreement owner to matriarch_owner;

-- For the owner only.
revoke execute on function state_set_many, verify_room, repair_room, rotate_signing_key from matriarch_api;
