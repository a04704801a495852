-- Users of this server, their devices, and what they have read.

create or replace view matrix.accounts as
select u.user_id, a.admin, a.created_at, a.deactivated_at, d.devices, d.last_seen_at
from matriarch.accounts a
join matriarch.users u on u.user_nid = a.user_nid
cross join lateral (
    select count(*) as devices, max(d.last_seen_at) as last_seen_at
    from matriarch.devices d
    where d.user_nid = a.user_nid
) d;
comment on view matrix.accounts is 'Users of this server.';
comment on column matrix.accounts.user_id is 'The user.';
comment on column matrix.accounts.admin is 'Whether the user is an administrator.';
comment on column matrix.accounts.created_at is 'When the user registered.';
comment on column matrix.accounts.deactivated_at is
    'When the account was deactivated. NULL: it is in use.';
comment on column matrix.accounts.devices is 'On how many devices the user is logged in.';
comment on column matrix.accounts.last_seen_at is
    'When one of these devices last sent a request, to some minutes. NULL: none did.';

create or replace view matrix.devices as
select u.user_id, d.device_id, d.display_name, d.created_at, d.last_seen_at
from matriarch.devices d
join matriarch.users u on u.user_nid = d.user_nid;
comment on view matrix.devices is 'Devices of this server''s users, without addresses.';
comment on column matrix.devices.user_id is 'The user.';
comment on column matrix.devices.device_id is 'The Matrix id of the device.';
comment on column matrix.devices.display_name is 'Its name for the user. NULL: none was given.';
comment on column matrix.devices.created_at is 'When the user logged in on it.';
comment on column matrix.devices.last_seen_at is
    'When it last sent a request, to some minutes. NULL: it did not yet.';

create or replace view matrix.receipts as
select
    r.room_id,
    u.user_id,
    c.receipt_type,
    nullif(c.thread_id, '') as thread_id,
    e.event_id,
    c.pos as position,
    matrix.timestamp_or_null(c.ts) as read_at
from matriarch.receipts c
join matriarch.rooms r on r.room_nid = c.room_nid
join matriarch.users u on u.user_nid = c.user_nid
join matriarch.events e on e.event_nid = c.event_nid;
comment on view matrix.receipts is 'How far users have read rooms: their newest receipts.';
comment on column matrix.receipts.room_id is 'The Matrix id of the room.';
comment on column matrix.receipts.user_id is 'The user.';
comment on column matrix.receipts.receipt_type is
    'm.read, which other users see, or m.read.private, which they do not.';
comment on column matrix.receipts.thread_id is
    'Event id of the thread''s root, or main. NULL: an unthreaded receipt.';
comment on column matrix.receipts.event_id is 'The event that was read.';
comment on column matrix.receipts.position is 'Its position in the room''s timeline.';
comment on column matrix.receipts.read_at is 'When it was read, as the user''s server says.';

create or replace view matrix.unread as
select
    u.user_id,
    r.room_id,
    r.notify_seq - coalesce(e.notify_seq, 0) as notifications,
    e.event_id as read_until,
    matrix.timestamp_or_null(e.origin_server_ts) as read_until_sent_at
from matriarch.accounts a
join matriarch.users u on u.user_nid = a.user_nid
join matriarch.memberships m on m.user_nid = a.user_nid and m.membership = 'join'
join matriarch.rooms r on r.room_nid = m.room_nid
cross join lateral (
    -- As a sync counts: everything up to the newest receipt, and to the user's own newest event, is read.
    select greatest(
        (
            select max(c.pos)
            from matriarch.receipts c
            where c.room_nid = m.room_nid and c.user_nid = m.user_nid and c.thread_id in ('', 'main')
        ),
        (
            select o.pos
            from matriarch.events o
            where o.room_nid = m.room_nid and o.sender_nid = m.user_nid and o.thread_root_nid is null
                and o.pos is not null
            order by o.pos desc
            limit 1
        )
    ) as pos
) read
left join matriarch.events e on e.room_nid = m.room_nid and e.pos = read.pos;
comment on view matrix.unread is
    'How much users of this server have not read in the rooms that they are joined to. Ask for a user or a '
    'room: all of them take long.';
comment on column matrix.unread.user_id is 'The user.';
comment on column matrix.unread.room_id is 'The Matrix id of the room.';
comment on column matrix.unread.notifications is
    'Unread events outside of threads that notify by the default push rules.';
comment on column matrix.unread.read_until is
    'The newest event that was read or sent by the user. NULL: there is none.';
comment on column matrix.unread.read_until_sent_at is 'When that was sent, as its server claims.';
