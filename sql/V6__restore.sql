-- For operators.

create procedure forget_positions()
language sql security definer set search_path = matriarch, pg_temp
as $$
    update rooms set xid = '0';
    update events set xid = '0';
    update memberships set xid = '0';
    update account_data set xid = '0';
    update receipts set xid = '0';
$$;
comment on procedure forget_positions is 'After a dump was restored into another cluster, whose transaction ids began anew: makes every row old, so that syncs do not take it for news. Run it once, before nodes start.';
revoke all on procedure forget_positions from public;
grant usage on schema matriarch to matriarch_admin;
grant execute on procedure forget_positions to matriarch_admin;
