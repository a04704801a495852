-- Keys of remote users are given from the lists that are kept.
alter table remote_device_lists add column whole_xid xid8;
comment on column remote_device_lists.whole_xid is
    'The transaction that last stored the keys of all devices. While the user has shared a room with this '
    'server ever since, updates keep the list current. NULL: no whole list was stored, or its time is not '
    'known.';
