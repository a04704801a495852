-- Who is to know of changes of whose devices: the log of changes, and since when users share rooms.

create table device_list_changes (
    user_nid   bigint not null references users,
    stream_id  bigint not null generated always as identity,
    device_id  text collate "C",
    audience   bigint references users,
    xid        xid8 not null default pg_current_xact_id(),
    created_at timestamptz not null default now(),
    primary key (user_nid, stream_id)
);
create index device_list_changes_xid on device_list_changes (xid);
create index device_list_changes_age on device_list_changes (created_at);
comment on table device_list_changes is 'Changes of users'' devices, of their keys, names and signatures, and of cross-signing keys. Each user''s newest stays; older ones are deleted by a node''s periodic task after 90 days.';
comment on column device_list_changes.stream_id is 'Ascending for each user: stream_id and prev_id of m.device_list_update.';
comment on column device_list_changes.device_id is 'The device that changed or was deleted; absent for cross-signing keys and signatures of them.';
comment on column device_list_changes.audience is 'The one user who sees the change: who signed another''s master key. Absent: all who share a room with the user, and the user.';
comment on column device_list_changes.xid is 'Tells whether a sync token saw it.';

create table membership_changes (
    room_nid  bigint not null references rooms on delete cascade,
    change_id bigint not null generated always as identity,
    user_nid  bigint not null references users,
    xid       xid8 not null default pg_current_xact_id(),
    joined    boolean not null,
    primary key (room_nid, change_id)
);
create index membership_changes_room on membership_changes (room_nid, xid);
create index membership_changes_user on membership_changes (user_nid, xid);
comment on table membership_changes is 'When users came into rooms and went out of them. Written by triggers of memberships; tells whether somebody was in a room when a sync token was made: the opposite of their first change after it or, when there is none, what memberships says. Goes with the room.';

create function note_membership_change() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        insert into membership_changes (room_nid, user_nid, joined) values (old.room_nid, old.user_nid, false);
    else
        insert into membership_changes (room_nid, user_nid, joined)
        values (new.room_nid, new.user_nid, new.membership = 'join');
    end if;
    return null;
end
$$;
revoke all on function note_membership_change from public;
create trigger membership_came after insert on memberships
for each row when (new.membership = 'join')
execute function note_membership_change();
create trigger membership_changed after update on memberships
for each row when ((old.membership = 'join') <> (new.membership = 'join'))
execute function note_membership_change();
create trigger membership_gone after delete on memberships
for each row when (old.membership = 'join')
execute function note_membership_change();
