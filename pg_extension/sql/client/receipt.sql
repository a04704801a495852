-- Receipts and read markers.

create function set_receipts(
    token_hash bytea, room_id text, receipt_types text[], event_ids text[], thread_id text
) returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'set_receipts_wrapper';
comment on function set_receipts is
    'POST /rooms/{roomId}/receipt/{receiptType}/{eventId} and POST /rooms/{roomId}/read_markers. The marker '
    'receipt_types[n], which may be m.fully_read, moves to event_ids[n]. thread_id is NULL for unthreaded '
    'receipts.';
