create function append_signed(room_id text, event text, device_nid bigint, txn_id text) returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'append_signed_wrapper';
comment on function append_signed is
    'Appends a local event that was returned with the outcome sign_first or sign_afterwards, after the '
    'room''s policy server has signed it. device_nid and txn_id are those of that response, and may be NULL.';
