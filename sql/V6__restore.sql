-- For operators.

create procedure reset_sync_xids()
language sql security definer set search_path = matriarch, pg_temp
as $$
    update rooms set xid = '0';
    update events set xid = '0';
    update memberships set xid = '0';
    update account_data set xid = '0';
    update receipts set xid = '0';
$$;
comment on procedure reset_sync_xids is 'After a dump was restored into another cluster, whose transaction ids began anew: makes every row old, so that syncs do not take it for news. Run it once, before nodes start.';
revoke all on procedure reset_sync_xids from public;
grant usage on schema matriarch to matriarch_admin;
grant execute on procedure reset_sync_xids to matriarch_admin;
