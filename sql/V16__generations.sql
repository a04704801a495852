-- Which runs of the server the database has seen: what was committed before one may be lost after it.

create table generations (
    generation_nid bigint generated always as identity primary key,
    mark           text collate "C" not null unique,
    timeline       text collate "C" not null,
    started_at     timestamptz not null default pg_postmaster_start_time(),
    first_xid      xid8 not null default pg_snapshot_xmin(pg_current_snapshot()),
    xid            xid8 not null default pg_current_xact_id()
);
comment on table generations is 'A row for each start of the database server in which something was written. Transaction ids from the newest first_xid on may have been given out before, to transactions that a crash, a failover or a restore undid: a sync token of an earlier generation is taken to have seen none of them. Kept: a few rows a year.';
comment on column generations.mark is 'What sync tokens of the generation begin with: made from the system identifier, the timeline and the time of the start.';
comment on column generations.timeline is 'System identifier and timeline of the cluster.';
comment on column generations.first_xid is 'No transaction of the generation that wrote anything has an earlier id.';
comment on column generations.xid is 'The transaction that recorded it.';

-- Positions of another cluster mean nothing here.
create or replace procedure reset_sync_xids()
language sql security definer set search_path = matriarch, pg_temp
as $$
    update rooms set xid = '0';
    update events set xid = '0';
    update memberships set xid = '0';
    update account_data set xid = '0';
    update receipts set xid = '0';
    update device_list_changes set xid = '0';
    update membership_changes set xid = '0';
    update to_device_messages set xid = '0';
    delete from generations;
$$;
