-- Federation transactions to other servers.

create function claim_transactions(
    lease text, max bigint, seconds double precision, renewed bigint[],
    out destination_nid bigint, out destination text, out txn_id text, out body text
) returns setof record
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'claim_transactions_wrapper';
comment on function claim_transactions is
    'Claims up to max destinations that there is something to send to, for so many seconds, and renews the '
    'leases of the destinations in renewed. lease names the node. Returns the transactions to send: body is '
    'that of PUT /_matrix/federation/v1/send/{txnId}.';

create function finish_transaction(
    lease text, destination_nid bigint, txn_id text, error text, give_up_after integer,
    out given_up boolean, out next_txn_id text, out next_body text
) returns setof record
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'finish_transaction_wrapper';
comment on function finish_transaction is
    'Ends a transaction. Returns the next one for the destination, if there is one. error: NULL if the '
    'destination accepted the transaction. give_up_after: NULL if the destination is at fault. Otherwise '
    'what is in the transaction is: it is taken apart, and an event or EDU that is alone is given up when it '
    'was refused so many times. given_up: that happened.';

create function release_transactions(lease text) returns void
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'release_transactions_wrapper';
comment on function release_transactions is 'Ends the leases of a node that stops.';

create function retry_transactions(server_name text) returns void
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'retry_transactions_wrapper';
comment on function retry_transactions is
    'Ends the pause of a server that is backed off, because the server sent a request.';

create function retry_now(destination text) returns boolean
language sql volatile strict parallel unsafe security definer
as $$
    with retried as (
        update destinations
        set retry_at = null, retry_interval = null
        where server_name = retry_now.destination
        returning true
    )
    select exists (select from retried)
$$;
comment on function retry_now is
    'Sends to a server within a second, as if it had not failed before. Returns false if the server is not '
    'known.';

create function purge_queue(destination text) returns bigint
language plpgsql volatile strict parallel unsafe security definer
as $$
declare
    purged_nid bigint;
    purged_edus bigint;
begin
    update destinations
    set txn_id = null, txn_created_at = null, txn_event_nids = null, txn_edu_ids = null, txn_refusals = 0,
        lease = null, leased_until = null
    where server_name = purge_queue.destination
    returning destination_nid into purged_nid;
    -- Events and EDUs that are written from here on are not purged.
    update destination_rooms r
    set sent_nid = greatest(
        r.sent_nid,
        (select max(e.event_nid) from events e where e.room_nid = r.room_nid and e.outgoing)
    )
    from (
        select room_nid
        from destination_rooms
        where destination_nid = purged_nid and pending_since is not null
        order by room_nid
        for update
    ) pending
    where r.destination_nid = purged_nid and r.room_nid = pending.room_nid;
    delete from outgoing_edus where destination_nid = purged_nid;
    get diagnostics purged_edus = row_count;
    return purged_edus;
end
$$;
comment on function purge_queue is
    'Discards what is queued for a server. It is not sent the events that it has missed; it can fetch them '
    'when it gets newer ones. EDUs are deleted, among them messages to devices, which are lost. Returns the '
    'number of EDUs.';

create function prune_outgoing() returns bigint
language sql volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
    with pruned as (
        delete from outgoing_edus
        where created_at < now() - case
            when edu_type in ('m.typing', 'm.presence', 'm.receipt') then interval '1 day'
            else interval '30 days'
        end
        returning 1
    )
    select count(*) from pruned
$$;
comment on function prune_outgoing is
    'Housekeeping: deletes EDUs that a destination did not accept in time: typing, presence and receipts '
    'after a day, messages to devices and changes of device lists after 30 days. Returns their number.';
