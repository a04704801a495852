-- Gives what a dump restored to its owner. `create extension` in a dump makes the roles after the schemas,
-- and `pg_restore --no-owner` gives everything to who restores. Needs a superuser.
do $$
declare
    object record;
begin
    for object in
        select format('schema %I', n.nspname) as name
        from pg_namespace n
        where n.nspname in ('matriarch', 'matrix') and n.nspowner <> 'matriarch_owner'::regrole
        union all
        select format(
            '%s %s',
            case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end,
            c.oid::regclass
        )
        from pg_class c
        where c.relnamespace in ('matriarch'::regnamespace, to_regnamespace('matrix'))
            and c.relowner <> 'matriarch_owner'::regrole and c.relkind in ('r', 'S', 'v')
            -- The sequence of a column follows its table.
            and not exists (
                select from pg_depend d
                where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                    and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
            )
        union all
        select format('routine %s', p.oid::regprocedure)
        from pg_proc p
        where p.pronamespace in ('matriarch'::regnamespace, to_regnamespace('matrix'))
            and p.proowner <> 'matriarch_owner'::regrole
        union all
        select format('domain %s', t.oid::regtype)
        from pg_type t
        where t.typnamespace = 'matriarch'::regnamespace and t.typtype = 'd'
            and t.typowner <> 'matriarch_owner'::regrole
    loop
        execute format('alter %s owner to matriarch_owner', object.name);
    end loop;
end
$$
