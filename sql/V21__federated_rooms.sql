-- Rooms that are shared with other servers.

create index room_state_keys_member_server on room_state_keys (room_nid, substr(state_key, strpos(state_key, ':') + 1))
where type = 'm.room.member';
comment on index room_state_keys_member_server is 'The members that a server has, or had, in a room.';

create index events_by_time on events (room_nid, origin_server_ts, pos) where pos is not null;
comment on index events_by_time is 'The event closest to a time.';

create table out_of_band_memberships (
    user_nid     bigint not null references users,
    room_id      text collate "C" not null,
    room_version text collate "C" not null,
    sender_nid   bigint not null references users,
    xid          xid8 not null default pg_current_xact_id(),
    membership   text collate "C" not null check (membership in ('invite', 'knock', 'leave')),
    event        text collate "C",
    state        text[] collate "C" not null,
    primary key (user_nid, room_id)
);
comment on table out_of_band_memberships is 'What users of this server are to rooms that no user of it is in: their member events came by themselves, and are outside of any graph. A row goes when the room''s own state says what the user is.';
comment on column out_of_band_memberships.event is 'The member event as a sync tells it: stripped or, of a leave, whole; absent for a leave that no server could be told of. JSON text.';
comment on column out_of_band_memberships.state is 'What the other server told of the room: stripped state events. JSON texts.';
comment on column out_of_band_memberships.xid is 'Tells whether a sync token saw it.';

-- As before, and of this table.
create or replace procedure reset_sync_xids()
language sql security definer set search_path = matriarch, pg_temp
as $$
    update rooms set xid = '0';
    update events set xid = '0';
    update memberships set xid = '0';
    update out_of_band_memberships set xid = '0';
    update account_data set xid = '0';
    update receipts set xid = '0';
    update device_list_changes set xid = '0';
    update membership_changes set xid = '0';
    update to_device_messages set xid = '0';
    delete from generations;
$$;
