-- For operators: what is exchanged with other servers, and what is pending.

create or replace view matrix.destinations as
select
    d.server_name,
    coalesce(r.rooms, 0) as rooms,
    coalesce(r.pending_rooms, 0) as pending_rooms,
    coalesce(e.pending_edus, 0) as pending_edus,
    least(r.oldest, e.oldest) as pending_since,
    d.last_success_at,
    d.failing_since,
    d.last_error,
    d.retry_at as next_try_at,
    coalesce(d.leased_until > now(), false) as sending
from matriarch.destinations d
left join (
    select
        destination_nid,
        count(*) filter (where left_nid is null) as rooms,
        count(pending_since) as pending_rooms,
        min(pending_since) as oldest
    from matriarch.destination_rooms
    group by destination_nid
) r on r.destination_nid = d.destination_nid
left join (
    select destination_nid, count(*) as pending_edus, min(created_at) as oldest
    from matriarch.outgoing_edus
    group by destination_nid
) e on e.destination_nid = d.destination_nid;
comment on view matrix.destinations is 'Other servers that this one sends to, and what is pending for them.';
comment on column matrix.destinations.server_name is 'The server.';
comment on column matrix.destinations.rooms is 'Rooms that users of the server are joined to.';
comment on column matrix.destinations.pending_rooms is
    'Rooms of which there may be something to send. A room may still be counted just after it was sent.';
comment on column matrix.destinations.pending_edus is
    'EDUs that are queued: messages to devices, changes of device lists, receipts, typing.';
comment on column matrix.destinations.pending_since is
    'Since when the oldest of it is pending. NULL: nothing is pending.';
comment on column matrix.destinations.last_success_at is
    'When it last accepted a transaction. NULL: it never did.';
comment on column matrix.destinations.failing_since is 'When it stopped answering. NULL: it answers.';
comment on column matrix.destinations.last_error is 'Why the last attempt failed. NULL: it did not.';
comment on column matrix.destinations.next_try_at is
    'When it is tried again; earlier if it sends a request. NULL: it answers.';
comment on column matrix.destinations.sending is 'Whether a node is sending to it.';

create or replace view matrix.inbound as
select
    r.room_id,
    q.origin,
    count(p.inbound_id) as events,
    min(p.received_at) as oldest,
    max(p.attempts) as attempts,
    min(p.next_try_at) as next_try_at,
    (array_agg(p.last_error order by p.inbound_id) filter (where p.last_error is not null))[1] as last_error
from matriarch.inbound_queues q
join matriarch.rooms r on r.room_nid = q.room_nid
left join matriarch.inbound_pdus p on p.room_nid = q.room_nid and p.origin = q.origin
group by r.room_id, q.origin;
comment on view matrix.inbound is
    'Staged events, by room and sending server: other servers sent them, and they are not in their rooms '
    'yet.';
comment on column matrix.inbound.room_id is 'The Matrix id of the room.';
comment on column matrix.inbound.origin is 'The server that sent the events.';
comment on column matrix.inbound.events is 'How many events are staged.';
comment on column matrix.inbound.oldest is 'When the oldest of them was received. NULL: none is staged.';
comment on column matrix.inbound.attempts is 'The greatest number of attempts among them.';
comment on column matrix.inbound.next_try_at is 'When the next of them is tried.';
comment on column matrix.inbound.last_error is 'What the oldest event that failed needs. NULL: none failed.';

create or replace view matrix.state_downloads as
select room_id, began_at, events from matriarch.state_downloads where ended_at is null;
comment on view matrix.state_downloads is
    'States of rooms that are being read from other servers'' answers: of joins, and before events whose '
    'previous events are missing. A row that is hours old belongs to a node that died.';
comment on column matrix.state_downloads.room_id is 'The Matrix id of the room.';
comment on column matrix.state_downloads.began_at is 'When the answer began.';
comment on column matrix.state_downloads.events is 'Events that were read so far.';

create or replace view matrix.partial_joins as
select
    p.room_id,
    p.join_event_id,
    p.server_name,
    cardinality(p.servers) as servers,
    p.began_at,
    coalesce(p.leased_until > now(), false) as loading,
    d.events,
    p.attempts,
    p.next_try_at,
    p.last_error
from matriarch.partial_joins p
left join lateral (
    select sum(d.events) as events
    from matriarch.state_downloads d
    where d.room_id = p.room_id and d.ended_at is null
) d on true
where p.room_nid is not null;
comment on view matrix.partial_joins is
    'Partial rooms: most of their members are still being loaded. Messages are sent and received. Requests '
    'for member lists wait, and so do joins of other servers through this one.';
comment on column matrix.partial_joins.room_id is 'The Matrix id of the room.';
comment on column matrix.partial_joins.join_event_id is 'The join whose state is loaded.';
comment on column matrix.partial_joins.server_name is 'The server that is asked first.';
comment on column matrix.partial_joins.servers is 'How many other servers are in the room, as that one said.';
comment on column matrix.partial_joins.began_at is 'When the join was made.';
comment on column matrix.partial_joins.loading is 'Whether a node is loading now.';
comment on column matrix.partial_joins.events is
    'Events that were read so far, of the answer that is being read. NULL: none is being read.';
comment on column matrix.partial_joins.attempts is 'How often loading has failed.';
comment on column matrix.partial_joins.next_try_at is 'When it is tried next, unless a node is loading.';
comment on column matrix.partial_joins.last_error is 'Why it last failed. NULL: it did not.';

create or replace view matrix.history_gaps as
select
    r.room_id,
    g.event_id,
    g.attempts,
    g.next_try_at,
    g.last_error,
    coalesce(g.leased_until > now(), false) as filling
from matriarch.history_gaps g
join matriarch.rooms r on r.room_nid = g.room_nid;
comment on view matrix.history_gaps is
    'Gaps in rooms'' histories that other servers are asked to fill, or could not fill lately.';
comment on column matrix.history_gaps.room_id is 'The Matrix id of the room.';
comment on column matrix.history_gaps.event_id is 'The event before which others are missing.';
comment on column matrix.history_gaps.attempts is 'How often no server could fill it.';
comment on column matrix.history_gaps.next_try_at is
    'When it may be tried again. Until then readers skip the gap.';
comment on column matrix.history_gaps.last_error is
    'Why it could not be filled. NULL: it was not tried to the end.';
comment on column matrix.history_gaps.filling is 'Whether a node asks other servers.';
