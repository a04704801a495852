-- Rooms that users of this server are in already, while most of their members are still to come.

alter table rooms
    add column partial boolean not null default false,
    add column whole_xid xid8;
comment on column rooms.partial is 'Members are missing in the state of the room, as they were left out when a user of this server joined: a row of partial_joins.';
comment on column rooms.whole_xid is 'The transaction by which a room that was partial became whole. To syncs that ask for all members it is new then.';

create table partial_joins (
    join_event_id text collate "C" primary key,
    room_id       text collate "C" not null,
    room_nid      bigint unique references rooms on delete cascade,
    join_nid      bigint,
    server_name   text collate "C" not null,
    servers       text[] collate "C" not null,
    began_at      timestamptz not null default now(),
    next_try_at   timestamptz not null default now(),
    leased_until  timestamptz,
    attempts      integer not null default 0,
    last_error    text
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 100);
comment on table partial_joins is 'Joins whose answer left members out. Nodes load the rest while users of this server are in the room; then all that was found out meanwhile is judged again, and the row goes. Rows of joins that came to nothing are deleted by the node, or after two hours by its periodic task.';
comment on column partial_joins.room_nid is 'Absent until the join was taken in.';
comment on column partial_joins.join_nid is 'The join, whose state is the one that is loaded.';
comment on column partial_joins.server_name is 'Whom the join was made by: it is asked first.';
comment on column partial_joins.servers is 'The other servers in the room, as that server said. Each counts as one more member in destination_rooms while the room is partial.';
comment on column partial_joins.leased_until is 'A node is loading until then, and renews this as it goes.';

create table partial_states (
    event_nid bigint primary key,
    room_nid  bigint not null references rooms on delete cascade,
    lost      boolean not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
create index partial_states_room on partial_states (room_nid);
comment on table partial_states is 'Events of partial rooms: the state before them lacks members, and is found out anew when the room is whole. Then the rows go.';
comment on column partial_states.lost is 'Events before it cannot be had: the state before it will be asked for.';

grant select, insert, update, delete on partial_joins to matriarch_api;
grant select on partial_states to matriarch_api;

create view matrix.partial_joins as
select p.room_id, p.join_event_id, p.server_name, cardinality(p.servers) as servers, p.began_at,
    coalesce(p.leased_until > now(), false) as loading,
    a.events, p.attempts, p.next_try_at, p.last_error
from matriarch.partial_joins p
left join lateral (
    select sum(a.events) as events from matriarch.state_downloads a where a.room_id = p.room_id and a.ended_at is null
) a on true
where p.room_nid is not null;
comment on view matrix.partial_joins is 'Rooms most of whose members are still being loaded, as long as users of this server are in them. Messages come and go; member lists, and other servers'' joins by this one, wait.';
comment on column matrix.partial_joins.server_name is 'The server that is asked first.';
comment on column matrix.partial_joins.servers is 'How many other servers are in the room, as that one said.';
comment on column matrix.partial_joins.loading is 'Whether a node is at it now.';
comment on column matrix.partial_joins.events is 'Events that came so far, by the answer that is being read.';
comment on column matrix.partial_joins.next_try_at is 'When it is tried next, unless a node is at it.';
grant select on matrix.partial_joins to matriarch_readonly;

-- What is before a partial room's events is fetched once their states are known.
create or replace function claim_history_gap(room_id text, event_id text)
returns table (outcome text, room_version text, missing text[])
language sql volatile strict parallel unsafe security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    with gap as (
        select r.room_nid, r.room_version, r.partial, e.event_nid, e.pos
        from rooms r
        join events e on e.event_id = claim_history_gap.event_id and e.room_nid = r.room_nid
        where r.room_id = claim_history_gap.room_id
            and exists (select from missing_prev_events m where m.event_nid = e.event_nid)
    ),
    lease as (
        insert into history_gaps as h (room_nid, event_id, leased_until)
        select gap.room_nid, claim_history_gap.event_id, now() + interval '60 seconds'
        from gap
        where not gap.partial
        on conflict on constraint history_gaps_pkey do update
        set leased_until = excluded.leased_until
        where (h.leased_until is null or h.leased_until < now()) and h.next_try_at <= now()
        returning h.room_nid
    )
    select
        case
            when exists (select from lease) then 'claimed'
            when exists (
                select
                from history_gaps h
                where h.room_nid = gap.room_nid and h.event_id = claim_history_gap.event_id and h.next_try_at > now()
            ) then 'backed off'
            else 'busy'
        end,
        gap.room_version,
        -- Gaps lie side by side where branches were cut off: what is missing before events near by is asked for too.
        array(
            select m.prev_event_id
            from (
                select e.event_nid, e.pos
                from events e
                where e.room_nid = gap.room_nid and e.pos <= gap.pos
                order by e.pos desc
                limit 50
            ) near
            join missing_prev_events m on m.event_nid = near.event_nid
            order by near.pos desc, m.prev_event_id
            limit 20
        )
    from gap
$$;
comment on function claim_history_gap is 'Leases the gap before an event for a minute: claimed; busy where another node has it or the room is partial; backed off where it could not be filled lately. No row where nothing is missing. missing: the events to ask for.';

create or replace procedure reset_sync_xids()
language sql security definer set search_path = matriarch, pg_temp
as $$
    update rooms set xid = '0', whole_xid = null;
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
