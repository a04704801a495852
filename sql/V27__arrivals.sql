-- The states of rooms on their way in from other servers.

create table state_downloads (
    download_id bigint primary key generated always as identity,
    room_id    text collate "C" not null,
    began_at   timestamptz not null default now(),
    ended_at   timestamptz,
    events     integer not null default 0
) with (fillfactor = 50, autovacuum_vacuum_threshold = 20);
comment on table state_downloads is 'Answers with the state of a room that nodes are reading, or have read in the last two hours: of joins, and behind gaps. Deleted by a node''s periodic task, which then looks whether the room got a state.';
comment on column state_downloads.ended_at is 'When the events were taken in; absent while they come, and where the node died.';
comment on column state_downloads.events is 'Events that came so far.';

-- A crash of the database ends the requests whose events these are.
create unlogged table state_download_events (
    download_id bigint not null,
    number     bigint not null,
    json       text not null,
    primary key (download_id, number)
) with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02);
comment on table state_download_events is 'Events of answers that are not taken into their rooms yet. They wait here, since those that others cite must go first, and come at any place of the answer.';
comment on column state_download_events.download_id is 'A row of state_downloads. No foreign key: the check would cost each event a query.';
comment on column state_download_events.number is 'As the node counts the events of the answer.';
comment on column state_download_events.json is 'As received.';

grant select, insert, update, delete on state_downloads, state_download_events to matriarch_api;

create view matrix.state_downloads as
select room_id, began_at, events from matriarch.state_downloads where ended_at is null;
comment on view matrix.state_downloads is 'States of rooms that are being read from other servers'' answers: of joins, and behind gaps. A row that is hours old is of a node that died.';
comment on column matrix.state_downloads.events is 'Events that came so far.';
grant select on matrix.state_downloads to matriarch_readonly;

create function prune_state_downloads() returns bigint
language plpgsql volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
declare
    old bigint[];
    room_ids text[];
    unfinished bigint[];
begin
    select array_agg(a.download_id), array_agg(a.room_id)
    into old, room_ids
    from (
        select download_id, room_id
        from state_downloads
        where began_at < now() - interval '2 hours'
        order by download_id
        limit 10
        for update skip locked
    ) a;
    if old is null then
        return 0;
    end if;
    delete from state_download_events where download_id = any(old);
    delete from state_downloads where download_id = any(old);
    unfinished := array(
        select r.room_nid
        from rooms r
        where r.room_id = any(room_ids) and r.current_root = 0 and r.forward_extremities = '{}'
            and not exists (select from state_downloads a where a.room_id = r.room_id)
        order by r.room_nid
        for update
    );
    if unfinished = '{}' then
        return 0;
    end if;
    delete from event_auth_edges d using events e where e.event_nid = d.event_nid and e.room_nid = any(unfinished);
    delete from events where room_nid = any(unfinished);
    delete from rooms where room_nid = any(unfinished);
    return cardinality(unfinished);
end
$$;
comment on function prune_state_downloads is 'Deletes what is left of answers that began to come two hours ago: what was staged, and rooms that got no state, since the node died or the join was refused, with their events. Returns the number of such rooms. A node calls it from time to time.';
revoke all on function prune_state_downloads from public;
grant execute on function prune_state_downloads to matriarch_api;
