-- Other users do not see user-signing keys, so a new one is news to its user alone.

comment on column device_list_changes.audience is
    'The only user who sees the change: the one who signed another''s master key, or who has a new '
    'user-signing key. NULL: the user, and all who share a room with the user.';
