-- A server that comes back to a room: earlier forward extremities are superseded.
comment on column events.superseded is
    'Of soft-failed and rejected events: an accepted event cites it, directly or through others that were '
    'not accepted. Of accepted events: it was a forward extremity when the last local user left, and ended '
    'as one when the next joined through another server.';
