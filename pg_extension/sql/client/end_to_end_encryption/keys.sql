create function upload_keys(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'upload_keys_wrapper';
comment on function upload_keys is 'POST /keys/upload';

create function query_keys(token_hash bytea, body text, answered text[]) returns setof response
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'query_keys_wrapper';
comment on function query_keys is
    'POST /keys/query. answered: the other servers whose responses about their users were stored by '
    'store_remote_keys. Users of others are failures, unless their device lists are kept.';

create function claim_keys(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'claim_keys_wrapper';
comment on function claim_keys is 'POST /keys/claim';

create function prune_keys() returns void
language sql volatile parallel unsafe security definer
as $$
    delete from one_time_keys where claimed_at < now() - interval '30 days';
    delete from device_list_changes c
    where created_at < now() - interval '90 days' and (
        exists (
            select from device_list_changes n
            where n.user_nid = c.user_nid and n.stream_id > c.stream_id
                and n.audience is not distinct from c.audience
        )
        or exists (select from accounts a where a.user_nid = c.user_nid and a.deactivated_at is not null)
    );
$$;
comment on function prune_keys is
    'Housekeeping: deletes one-time keys that were handed out 30 days ago, and changes of device lists after '
    '90 days. Each user''s newest change stays, so that the oldest sync token still learns of it; of '
    'deactivated users all are deleted.';
