create function sync(token_hashes bytea[], requests text[])
returns table (
    status smallint, body text, changed boolean, user_nid bigint, room_nids bigint[], acknowledged_by bigint
)
language c stable strict parallel restricted security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'sync_wrapper';
comment on function sync is
    'GET /sync for several requests at once: a row for each, in order. A request is a JSON object of the '
    'query parameters since, filter, full_state, use_state_after and unstable_use_state_after. changed: '
    'whether there is something new; if not, room_nids are the rooms to wait for. acknowledged_by: the '
    'device whose token acknowledges messages that are still stored; acknowledge_to_device deletes them.';
