create function append_signed(room_id text, event text, device_nid bigint, txn_id text) returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'append_signed_wrapper';
comment on function append_signed is
    'Appends an event of a user of this server that a function answered with the outcome sign_first or '
    'sign_afterwards, now that the room''s policy server has signed it. device_nid and txn_id are as in that '
    'answer, and may be NULL.';
