-- The state trie; see the comments of the tables state_nodes and room_state_keys.

create function state_get(root bigint, key_idx integer) returns bigint
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'state_get_wrapper';
comment on function state_get is
    'The event_nid of a state key in a state. NULL if the state has no such event.';

create function state_entries(root bigint) returns table (key_idx integer, event_nid bigint)
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'state_entries_wrapper';
comment on function state_entries is 'All entries of a state.';

create function state_diff(old_root bigint, new_root bigint)
returns table (key_idx integer, old_event_nid bigint, new_event_nid bigint)
language c stable strict parallel restricted security definer
as 'MODULE_PATHNAME', 'state_diff_wrapper';
comment on function state_diff is
    'The differences of two states of a room. Reads only the subtrees that differ.';

create function state_set_many(room_nid bigint, root bigint, key_idxs integer[], event_nids bigint[])
returns bigint
language c volatile strict parallel unsafe security definer
as 'MODULE_PATHNAME', 'state_set_many_wrapper';
comment on function state_set_many is
    'The root of the state that these changes make of another. A NULL event removes the state key. The '
    'caller holds the room''s lock.';
