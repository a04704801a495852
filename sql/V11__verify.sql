-- Checking rooms against their events. docs/sql.md describes it with examples.

alter table events add column state_given boolean not null default false;
comment on column events.state_given is 'state_before was given with the event, as its prev_events could not be had. It stays, also once they came, whatever they resolve to.';

create index events_unplaced on events (room_nid, event_nid) where pos is null and status in (0, 3);
comment on index events_unplaced is 'Outliers. With events_timeline and events_not_shown, all events of a room.';

create function matrix.verify_room(room_id text)
returns table ("check" text, event_id text, subject text, found text, expected text)
language sql stable strict parallel restricted rows 10 security definer set search_path = pg_catalog, pg_temp
as $$
    select v.check_name, v.event_id, v.subject, v.found, v.expected from matriarch.verify_room(verify_room.room_id) v
$$;
comment on function matrix.verify_room is 'Computes anew all that is derived of a room''s events; a row for each disagreement with what is stored, none for a healthy room. Takes minutes in big rooms, tells its progress by NOTICEs, and blocks nobody.';

create function matrix.repair_room(room_id text, dry_run boolean default true)
returns table ("check" text, event_id text, subject text, found text, expected text, action text)
language plpgsql volatile strict parallel unsafe rows 10 security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    -- Variables keep their values when what happened in a block is undone.
    disagreements matriarch.disagreement[];
begin
    begin
        disagreements := array(select d from matriarch.repair_room(repair_room.room_id) d);
        if repair_room.dry_run then
            raise exception using errcode = 'MA000', message = 'dry run';
        end if;
    exception
        when sqlstate 'MA000' then null;
    end;
    return query
    select d.check_name, d.event_id, d.subject, d.found, d.expected, d.action from unnest(disagreements) d;
end
$$;
comment on function matrix.repair_room is 'Repairs what matrix.verify_room finds, in one transaction, under the room''s lock: nobody writes to the room meanwhile. A row for each disagreement with what was done about it; action is absent where nothing can be. A dry run does the same and undoes it.';

revoke all on function matrix.verify_room, matrix.repair_room from public;
grant execute on function matrix.verify_room to matriarch_readonly;
grant usage on schema matrix to matriarch_admin;
grant execute on function matrix.repair_room to matriarch_admin;
