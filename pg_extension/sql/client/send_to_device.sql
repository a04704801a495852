create function send_to_device(token_hash bytea, event_type text, txn_id text, request text)
returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'send_to_device_wrapper';
comment on function send_to_device is 'PUT /sendToDevice/{eventType}/{txnId}';

create function acknowledge_to_device(device_nids bigint[], tokens text[]) returns void
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'acknowledge_to_device_wrapper';
comment on function acknowledge_to_device is
    'Deletes the messages that devices acknowledged: the device device_nids[n] has used the sync token '
    'tokens[n].';
