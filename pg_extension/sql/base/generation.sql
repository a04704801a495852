create function record_generation() returns void
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'record_generation_wrapper';
comment on function record_generation is
    'Records the current run of the database server. To be called before a row with an xid is written; the '
    'extension''s functions do it themselves.';

create procedure reset_sync_xids()
language sql security definer
as $$
    update rooms set xid = '0', whole_xid = null;
    update events set xid = '0';
    update memberships set xid = '0';
    update out_of_band_memberships set xid = '0';
    update account_data set xid = '0';
    update receipts set xid = '0';
    update device_list_changes set xid = '0';
    update membership_changes set xid = '0';
    update to_device_messages set xid = '0';
    update remote_device_lists set whole_xid = null where whole_xid is not null;
    delete from generations;
$$;
comment on procedure reset_sync_xids is
    'Makes every row old, so that syncs do not return it as new. Run it once, before nodes start, after a '
    'dump was restored into another cluster: its transaction ids begin anew.';
