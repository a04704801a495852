-- Grants and settings of all views and functions of the schema, set here once, so that no declaration can
-- forget them. tests/test_schema.py checks the result.
do $$
declare
    routine record;
begin
    for routine in
        select p.oid::regprocedure as name, p.prosecdef
        from pg_proc p
        where p.pronamespace = 'matrix'::regnamespace and p.proowner = 'matriarch_owner'::regrole
    loop
        execute format('revoke all on routine %s from public', routine.name);
        -- They find few rows of big tables by keys, whatever number of rows the planner estimates. Plans of a
        -- kind that is turned off have a high cost, and JIT would compile them: so jit is off. The other
        -- functions are expressions, which the planner inlines.
        if routine.prosecdef then
            execute format(
                'alter routine %s set search_path = pg_catalog, pg_temp set jit = off '
                'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off',
                routine.name
            );
        end if;
    end loop;
end
$$;

grant select on
    matrix.rooms, matrix.events, matrix.members, matrix.out_of_band_members, matrix.presence,
    matrix.accounts, matrix.devices, matrix.receipts, matrix.unread,
    matrix.destinations, matrix.inbound, matrix.state_downloads, matrix.partial_joins, matrix.history_gaps
to matriarch_readonly;

-- Who did what when, and not what they wrote: no text of users, no profile.
grant usage on schema matrix to matriarch_metadata;
grant select (
    room_id, room_version, room_type, creator, join_rule, history_visibility, joined_members,
    invited_members, published, created_at, depth, encrypted, replacement_room, other_servers
) on matrix.rooms to matriarch_metadata;
grant select (
    event_id, room_id, type, sender, sent_at, depth, "position", status, redacted_by, received_at,
    sender_server
) on matrix.events to matriarch_metadata;
grant select (room_id, user_id, membership, sender, event_id, since) on matrix.members
to matriarch_metadata;
grant select (room_id, room_version, user_id, membership, sender) on matrix.out_of_band_members
to matriarch_metadata;
grant select (user_id, presence, last_active_at, changed_at) on matrix.presence to matriarch_metadata;
grant select (user_id, device_id, created_at, last_seen_at) on matrix.devices to matriarch_metadata;
grant select on
    matrix.accounts, matrix.receipts, matrix.unread,
    matrix.destinations, matrix.inbound, matrix.state_downloads, matrix.partial_joins, matrix.history_gaps
to matriarch_metadata;
grant execute on function
    matrix.current_state, matrix.state_at(text), matrix.state_at(text, timestamptz), matrix.timeline,
    matrix.room_graph, matrix.state_diff, matrix.auth_chain, matrix.auth_difference, matrix.resolve_state,
    matrix.check_auth(json), matrix.check_auth(json, text), matrix.explain_event, matrix.explain_resolution,
    matrix.verify_room
to matriarch_readonly;
grant execute on function matrix.repair_room to matriarch_admin;
-- They only convert. Whoever reads a view that an analyst built on these needs them.
grant execute on function
    matrix.json_or_null, matrix.timestamp_or_null, matrix.status_name
to public;
-- `matriarch graph` shows a room.
grant execute on function matrix.room_graph to matriarch_api;
