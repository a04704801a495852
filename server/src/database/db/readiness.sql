-- Whether this database can serve requests. Anybody may read the catalogs.
select
    pg_is_in_recovery() as standby,
    current_setting('transaction_read_only')::boolean as read_only,
    (select extversion from pg_extension where extname = 'matriarch') as extension,
    (
        select min(c.relname::text)
        from pg_class c
        where c.relnamespace = to_regnamespace('matriarch') and c.relkind in ('r', 'S')
            and c.relowner is distinct from to_regrole('matriarch_owner')
    ) as of_another_owner
