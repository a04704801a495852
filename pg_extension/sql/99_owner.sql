-- Owner, grants and settings of all functions, set here once, so that no declaration can forget them.
-- tests/test_schema.py checks the result.
do $$
declare
    routine record;
    -- Housekeeping and repair read whole tables: the planner chooses how.
    through_tables constant text[] := array[
        'prune_keys', 'prune_outgoing', 'prune_state_downloads', 'reset_sync_xids'
    ];
    -- Requests run the same few statements all the time. Each finds its rows by an index, whatever the size
    -- of the tables and the age of the statistics. So a plan is made once, for big tables: the plan cache
    -- would otherwise plan each call anew, since it overestimates the length of arrays, and plans that were
    -- made in a new, empty database would read whole tables until the next `analyze`. A plan of a kind that
    -- is turned off has a high cost, and JIT would compile plans of high cost, in 30 to 300 ms per call:
    -- so jit is off. Functions that read pages in the order of an index also set `enable_bitmapscan = off`
    -- in their declaration.
    by_index constant text :=
        'set plan_cache_mode = force_generic_plan set jit = off '
        'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off';
begin
    for routine in
        select p.oid::regprocedure as name, p.proname, p.prosecdef
        from pg_proc p
        join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
        join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
        where e.extname = 'matriarch'
    loop
        -- They run with the owner's rights, which are far less than those of the superuser who installs them.
        execute format('alter routine %s owner to matriarch_owner', routine.name);
        execute format('revoke all on routine %s from public', routine.name);
        execute format('grant execute on routine %s to matriarch_api', routine.name);
        -- The other functions are expressions, which the planner inlines. Settings would prevent that.
        if routine.prosecdef then
            execute format('alter routine %s set search_path = matriarch, pg_temp', routine.name);
            if routine.proname <> all (through_tables) then
                execute format('alter routine %s %s', routine.name, by_index);
            end if;
        end if;
    end loop;
end
$$;
alter type response owner to matriarch_owner;
alter type disagreement owner to matriarch_owner;

-- For the owner only.
revoke execute on routine
    state_set_many, verify_room, repair_room, rotate_signing_key, is_live,
    accepted, soft_failed, rejected, outlier
from matriarch_api;

-- For operators only.
revoke execute on routine retry_now, purge_queue, reset_sync_xids from matriarch_api;
grant execute on routine retry_now, purge_queue, reset_sync_xids to matriarch_admin;

-- For everybody.
grant execute on function matriarch_convert.json_or_null to public;
