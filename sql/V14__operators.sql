-- For operators and analysts: when an event was received, what the role matriarch_admin may do, and rooms
-- that can be deleted.

-- In two steps: a default in the first one would give it to all rows that are there.
alter table events add column received_at timestamptz;
alter table events alter column received_at set default now();
comment on column events.received_at is
    'When the database transaction began that stored the event. NULL: before this column was added.';

create or replace function note_membership_change() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
as $$
begin
    if tg_op <> 'DELETE' then
        insert into membership_changes (room_nid, user_nid, joined)
        values (new.room_nid, new.user_nid, new.membership = 'join');
    -- A membership that is deleted with its room changes nothing that is left.
    elsif exists (select from rooms where room_nid = old.room_nid) then
        insert into membership_changes (room_nid, user_nid, joined)
        values (old.room_nid, old.user_nid, false);
    end if;
    return null;
end
$$;

-- The plans are for one room in big tables.
create function delete_events_of_room() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set jit = off
as $$
begin
    delete from event_auth_edges
    where auth_nid in (
        select event_nid from events where room_nid = old.room_nid and pos is not null
        union all
        select event_nid from events where room_nid = old.room_nid and pos is null and status in (0, 3)
    );
    -- Three statements for three indexes, which together have all events of a room.
    delete from events where room_nid = old.room_nid and pos is not null;
    delete from events where room_nid = old.room_nid and pos is null and status in (0, 3);
    delete from events where room_nid = old.room_nid and status in (1, 2);
    delete from account_data a
    using memberships m
    where m.room_nid = old.room_nid and a.user_nid = m.user_nid and a.room_nid = old.room_nid;
    delete from inbound_queues where room_nid = old.room_nid;
    delete from history_gaps where room_nid = old.room_nid;
    delete from held_receipts where room_nid = old.room_nid;
    delete from typing where room_nid = old.room_nid;
    return old;
end
$$;
comment on function delete_events_of_room is
    'Trigger of rooms: deletes what belongs to a deleted room and has no foreign key to it. Foreign keys '
    'delete the rest.';
revoke all on function delete_events_of_room from public;
create trigger room_deleted before delete on rooms
for each row execute function delete_events_of_room();

-- What docs/operations.md tells operators to do.
grant select, delete on rooms to matriarch_admin;
grant select, insert, update, delete on registration_tokens to matriarch_admin;
grant select, delete on history_gaps to matriarch_admin;
grant delete on one_time_keys to matriarch_admin;
grant select on agreed_terms, generations, remote_device_lists, server, users to matriarch_admin;
