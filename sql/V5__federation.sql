-- Other servers: their keys, what they send, what they are sent, and rooms that are fetched from them.

create table server_keys (
    server_name    text collate "C" not null,
    key_id         text collate "C" not null,
    public_key     text collate "C" not null,
    valid_until_ts bigint not null,
    expired        boolean not null default false,
    fetched_at     timestamptz not null default now(),
    primary key (server_name, key_id)
);
comment on table server_keys is
    'Signing keys that other servers published. They are kept for ever: old events need old keys.';
comment on column server_keys.server_name is 'The server.';
comment on column server_keys.key_id is 'Name of the key in signatures: ed25519:, and a version.';
comment on column server_keys.public_key is 'The ed25519 key in unpadded base64.';
comment on column server_keys.valid_until_ts is
    'Until when the key may sign, in milliseconds since 1970: valid_until_ts of a key in use, expired_ts of '
    'an old one.';
comment on column server_keys.expired is
    'Whether it was published among old_verify_keys. valid_until_ts does not grow then.';
comment on column server_keys.fetched_at is 'When the key was last fetched.';
grant select on server_keys to matriarch_api;

create table server_key_responses (
    server_name    text collate "C" primary key check (octet_length(server_name) <= 255),
    valid_until_ts bigint not null,
    fetched_at     timestamptz not null default now(),
    response       text not null
);
comment on table server_key_responses is
    'The newest answer of each server to GET /_matrix/key/v2/server, for servers that ask this one as a '
    'notary. Rows are kept: a notary goes on answering for servers that are gone.';
comment on column server_key_responses.server_name is 'The server; 255 bytes at most.';
comment on column server_key_responses.valid_until_ts is
    'valid_until_ts of the answer: milliseconds since 1970.';
comment on column server_key_responses.fetched_at is 'When the answer was fetched.';
comment on column server_key_responses.response is 'JSON as the server signed it.';
grant select, insert, update on server_key_responses to matriarch_api;

-- What other servers are sent.

create table destinations (
    destination_nid bigint generated always as identity primary key,
    server_name     text collate "C" not null unique,
    retry_at        timestamptz,
    retry_interval  interval,
    failing_since   timestamptz,
    last_success_at timestamptz,
    last_error      text,
    lease           text collate "C",
    leased_until    timestamptz,
    txn_id          text collate "C",
    txn_created_at  timestamptz,
    txn_event_nids  bigint[],
    txn_edu_ids     bigint[],
    txn_refusals    integer not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
create index destinations_backed_off on destinations (retry_at) where retry_at is not null;
comment on table destinations is
    'Other servers, and the federation transaction that each is being sent: one at a time. A row''s lease '
    'is the right to send to that server.';
comment on column destinations.destination_nid is 'Number of the server here.';
comment on column destinations.server_name is 'The server.';
comment on column destinations.retry_at is 'Nothing is sent before. NULL: the server answers.';
comment on column destinations.retry_interval is
    'The last pause between attempts; the next is twice as long. NULL: the server answers.';
comment on column destinations.failing_since is 'When it ceased to answer. NULL: it answers.';
comment on column destinations.last_success_at is 'When it last took a transaction. NULL: it never did.';
comment on column destinations.last_error is 'Why the last attempt failed. NULL: it did not.';
comment on column destinations.lease is
    'The node that sends, until leased_until. It renews the lease as it goes; another may take it over '
    'after that. NULL: none sends.';
comment on column destinations.leased_until is
    'When the lease ends unless it is renewed. NULL: there is no lease.';
comment on column destinations.txn_id is
    'Id of the transaction in progress: it is repeated under this id, with what the next columns say, until '
    'the server has answered. NULL: there is none.';
comment on column destinations.txn_created_at is
    'When the transaction in progress was made. NULL: there is none.';
comment on column destinations.txn_event_nids is
    'The events of the transaction in progress. NULL: there is none.';
comment on column destinations.txn_edu_ids is
    'The EDUs of the transaction in progress: edu_ids of outgoing_edus. NULL: there is none.';
comment on column destinations.txn_refusals is
    'How often the server refused the transaction in progress in a way that repeating it does not mend.';
comment on index destinations_backed_off is 'Servers that are left alone for a while.';
-- For the nodes: which servers to try again when they send a request.
grant select (server_name, retry_at) on destinations to matriarch_api;

create table destination_rooms (
    destination_nid bigint not null references destinations on delete cascade,
    room_nid        bigint not null references rooms on delete cascade,
    joined_members  integer not null check (joined_members >= 0),
    sent_nid        bigint not null,
    left_nid        bigint,
    pending_since   timestamptz,
    primary key (destination_nid, room_nid)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index destination_rooms_room on destination_rooms (room_nid);
create index destination_rooms_unmarked on destination_rooms (room_nid, destination_nid)
where pending_since is null and left_nid is null;
create index destination_rooms_pending on destination_rooms (destination_nid, pending_since)
where pending_since is not null;
comment on table destination_rooms is
    'Which other servers are in which rooms, and how far each has been sent the room''s events. Rows are '
    'locked in the order of their primary key.';
comment on column destination_rooms.destination_nid is 'The server.';
comment on column destination_rooms.room_nid is 'The room.';
comment on column destination_rooms.joined_members is 'How many users of the server are joined.';
comment on column destination_rooms.sent_nid is
    'The server has been sent the outgoing events up to this one. When a server joins the room, it is the '
    'event of its first member.';
comment on column destination_rooms.left_nid is
    'The event by which the last of its members left, which is the last that it is sent; the row is deleted '
    'then. NULL: it has members.';
comment on column destination_rooms.pending_since is
    'Since when there may be something to send, or when the last transaction was made. NULL: there is '
    'nothing. It is set under the room''s lock, and reset only while no append to the room is in progress.';
comment on index destination_rooms_room is 'The servers in a room.';
comment on index destination_rooms_unmarked is 'The servers in a room that are to be marked as pending.';
comment on index destination_rooms_pending is 'The rooms that a server is to be sent events of.';

create table outgoing_edus (
    destination_nid bigint not null references destinations on delete cascade,
    edu_id          bigint not null generated by default as identity,
    created_at      timestamptz not null default now(),
    edu_type        text collate "C" not null,
    merge_key       text collate "C",
    content         text not null,
    primary key (destination_nid, edu_id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create unique index outgoing_edus_merged on outgoing_edus (destination_nid, edu_type, merge_key)
where merge_key is not null;
comment on table outgoing_edus is
    'EDUs that a server is to be sent. A row is deleted when the server has answered the transaction with '
    'it.';
comment on index outgoing_edus_merged is 'The EDU that a newer one replaces.';
comment on column outgoing_edus.destination_nid is 'The server.';
comment on column outgoing_edus.edu_id is 'EDUs are sent in this order.';
comment on column outgoing_edus.created_at is 'When it was queued.';
comment on column outgoing_edus.edu_type is 'The EDU type.';
comment on column outgoing_edus.merge_key is
    'What the EDU is about: a newer one of its type and key replaces it. NULL: it is sent whatever follows '
    'it.';
comment on column outgoing_edus.content is 'The content as JSON text.';

create function queue_device_list_change() returns trigger
language plpgsql security definer set search_path = matriarch, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
begin
    insert into outgoing_edus (destination_nid, edu_type, merge_key, content)
    select
        r.destination_nid,
        case when new.device_id is null then 'm.signing_key_update' else 'm.device_list_update' end,
        new.user_nid::text,
        case
            when new.device_id is null then json_build_object('user_id', u.user_id)
            else json_build_object(
                'user_id', u.user_id, 'device_id', new.device_id, 'stream_id', new.stream_id,
                'prev_id', coalesce(
                    (
                        select json_build_array(max(stream_id))
                        from device_list_changes
                        where user_nid = new.user_nid and stream_id < new.stream_id
                            and device_id is not null and audience is null
                        having max(stream_id) is not null
                    ),
                    '[]'
                )
            )
        end::text
    from users u
    join server s on s.server_name = u.server_name
    cross join lateral (
        select distinct r.destination_nid
        from memberships m
        join destination_rooms r on r.room_nid = m.room_nid
        where m.user_nid = u.user_nid and m.membership = 'join' and r.left_nid is null
        offset 0
    ) r
    where u.user_nid = new.user_nid
    order by r.destination_nid
    on conflict (destination_nid, edu_type, merge_key) where merge_key is not null do update
    set edu_id = excluded.edu_id, content = excluded.content, created_at = excluded.created_at;
    return null;
end
$$;
comment on function queue_device_list_change is
    'Trigger of device_list_changes: queues m.device_list_update or, for cross-signing keys, '
    'm.signing_key_update for the servers that share a room with the user. What they say of keys is read '
    'when they are sent. Of updates that were not sent yet the newest stays: a server that misses one asks '
    'for the whole list.';
revoke all on function queue_device_list_change from public;
create trigger device_list_changed after insert on device_list_changes
for each row when (new.audience is null)
execute function queue_device_list_change();

-- What other servers send.

create table inbound_transactions (
    origin      text collate "C" not null,
    txn_id      text collate "C" not null,
    received_at timestamptz not null default now(),
    response    text not null,
    primary key (origin, txn_id)
) with (autovacuum_vacuum_scale_factor = 0.05);
create index inbound_transactions_age on inbound_transactions (received_at);
comment on table inbound_transactions is
    'Federation transactions that were acknowledged: a repeated one gets the same answer, and does nothing. '
    'The nodes'' housekeeping deletes them after a day.';
comment on column inbound_transactions.origin is 'The server that sent it.';
comment on column inbound_transactions.txn_id is 'Its transaction id.';
comment on column inbound_transactions.received_at is 'When it was received.';
comment on column inbound_transactions.response is 'JSON as answered.';
comment on index inbound_transactions_age is 'For housekeeping.';

create table inbound_queues (
    room_nid     bigint not null,
    origin       text collate "C" not null,
    generation   bigint not null default 0,
    next_try_at  timestamptz not null default now(),
    leased_until timestamptz,
    primary key (room_nid, origin)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
create index inbound_queues_due on inbound_queues (next_try_at);
create index inbound_queues_origin on inbound_queues (origin, leased_until);
comment on table inbound_queues is
    'Rooms and servers with events in inbound_pdus. One node at a time works on a row. Each server has a '
    'queue of its own in a room, so that one that is slow to give what its events need delays its own '
    'events only.';
comment on column inbound_queues.room_nid is
    'The room. No foreign key: the check would wait for appends to the room.';
comment on column inbound_queues.origin is 'The server that sent the events.';
comment on column inbound_queues.generation is
    'Counts transactions that added to the queue: a node that worked it off deletes the row only if none '
    'was added meanwhile.';
comment on column inbound_queues.next_try_at is 'The queue is left alone until then.';
comment on column inbound_queues.leased_until is 'A node works on it, until then at least. NULL: none does.';
comment on index inbound_queues_due is 'Queues that are to be worked off.';
comment on index inbound_queues_origin is 'How many queues of a server are worked on.';

create table inbound_pdus (
    room_nid    bigint not null,
    origin      text collate "C" not null,
    inbound_id  bigint not null generated always as identity,
    event_id    text collate "C" not null,
    received_at timestamptz not null default now(),
    attempts    smallint not null default 0,
    next_try_at timestamptz not null default now(),
    last_error  text,
    json        text not null,
    primary key (room_nid, origin, inbound_id),
    unique (room_nid, event_id, origin),
    foreign key (room_nid, origin) references inbound_queues on delete cascade
) with (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0.2
);
create index inbound_pdus_origin on inbound_pdus (origin);
comment on table inbound_pdus is
    'Staged events: other servers sent them, they were acknowledged, and have not been through intake. A '
    'row is deleted when its event was taken in, is none, or was tried too often.';
comment on column inbound_pdus.room_nid is 'The room.';
comment on column inbound_pdus.origin is 'The server that sent it, which need not be the sender''s.';
comment on column inbound_pdus.inbound_id is 'Ascending in the order in which the events were received.';
comment on column inbound_pdus.event_id is
    'The Matrix id, as the JSON says. Signatures were not checked yet: several servers may send different '
    'forms.';
comment on column inbound_pdus.received_at is 'When it was received.';
comment on column inbound_pdus.attempts is 'How often intake was tried in vain.';
comment on column inbound_pdus.next_try_at is 'It is left alone until then.';
comment on column inbound_pdus.last_error is
    'What the event lacked at the last attempt. NULL: it was not tried.';
comment on column inbound_pdus.json is 'As received.';
comment on index inbound_pdus_origin is 'How many events of a server are staged.';

create table inbound_to_device (
    origin      text collate "C" not null,
    message_id  text collate "C" not null,
    received_at timestamptz not null default now(),
    primary key (origin, message_id)
) with (autovacuum_vacuum_scale_factor = 0.05);
create index inbound_to_device_age on inbound_to_device (received_at);
comment on table inbound_to_device is
    'Send-to-device messages of other servers that were taken, so that a repeated one does nothing. The '
    'nodes'' housekeeping deletes the rows after a week.';
comment on column inbound_to_device.origin is 'The server that sent it.';
comment on column inbound_to_device.message_id is 'message_id of the EDU.';
comment on column inbound_to_device.received_at is 'When it was received.';
comment on index inbound_to_device_age is 'For housekeeping.';

grant select, insert, update, delete
on inbound_transactions, inbound_queues, inbound_pdus, inbound_to_device
to matriarch_api;

-- What is fetched from other servers.

create table history_gaps (
    room_nid     bigint not null,
    event_id     text collate "C" not null,
    leased_until timestamptz,
    attempts     integer not null default 0,
    next_try_at  timestamptz not null default now(),
    last_error   text,
    primary key (room_nid, event_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index history_gaps_tried on history_gaps (next_try_at);
comment on table history_gaps is
    'Gaps before events (rows of missing_prev_events) that a node is filling, or could not fill lately. A '
    'row is deleted when its gap is filled, and by the nodes'' housekeeping a week after it may be tried '
    'again.';
comment on column history_gaps.room_nid is
    'The room. No foreign key: the check would wait for appends to the room.';
comment on column history_gaps.event_id is 'The Matrix id of the event before which others are missing.';
comment on column history_gaps.leased_until is
    'A node asks other servers, until then at least. NULL: none does.';
comment on column history_gaps.attempts is 'How often no server could fill it.';
comment on column history_gaps.next_try_at is 'Until then no server is asked, and readers pass over the gap.';
comment on column history_gaps.last_error is 'Why it could not be filled. NULL: it was not tried to the end.';
comment on index history_gaps_tried is 'For housekeeping.';
grant select, delete on history_gaps to matriarch_api;

create table joins_in_progress (
    room_id text collate "C" primary key,
    until   timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
comment on table joins_in_progress is
    'Rooms of other servers that users of this one are just joining. The servers in them may send events '
    'before the room''s state was read, and are kept waiting for a moment.';
comment on column joins_in_progress.room_id is 'The Matrix id of the room.';
comment on column joins_in_progress.until is
    'When the join has failed at the latest, as far as senders are concerned. The node deletes the row when '
    'the join ends; housekeeping deletes those of nodes that died.';
grant select, insert, update, delete on joins_in_progress to matriarch_api;

create table state_downloads (
    download_id bigint primary key generated always as identity,
    room_id     text collate "C" not null,
    began_at    timestamptz not null default now(),
    ended_at    timestamptz,
    events      integer not null default 0
) with (fillfactor = 50, autovacuum_vacuum_threshold = 20);
comment on table state_downloads is
    'Answers with the state of a room that nodes are reading, or have read in the last two hours: of joins, '
    'and of states before events whose previous events are missing. The nodes'' housekeeping deletes a row, '
    'and then checks whether the room got a state.';
comment on column state_downloads.download_id is 'Number of the answer.';
comment on column state_downloads.room_id is 'The Matrix id of the room.';
comment on column state_downloads.began_at is 'When the answer began.';
comment on column state_downloads.ended_at is
    'When its events had been through intake. NULL: it is being read, or the node died.';
comment on column state_downloads.events is 'How many events were staged so far.';

-- A crash of the database ends the requests whose events these are.
create unlogged table state_download_events (
    download_id bigint not null,
    number      bigint not null,
    json        text not null,
    primary key (download_id, number)
) with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02);
comment on table state_download_events is
    'Events of answers that have not been through intake. They are staged here because events that others '
    'cite must be stored first, and may stand anywhere in the answer. Unlogged: a crash of the database '
    'ends the requests.';
comment on column state_download_events.download_id is
    'A row of state_downloads. No foreign key: the check would cost each event a query.';
comment on column state_download_events.number is 'Number of the event in the answer, as the node counts.';
comment on column state_download_events.json is 'As received.';

grant select, insert, update, delete on state_downloads, state_download_events to matriarch_api;

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
comment on table partial_joins is
    'Joins whose answer left members out. Nodes load the rest while users of this server are joined; then '
    'everything that was decided meanwhile is decided again, and the row is deleted. The node deletes rows '
    'of joins that failed, or housekeeping after two hours.';
comment on column partial_joins.join_event_id is 'The Matrix id of the join event.';
comment on column partial_joins.room_id is 'The Matrix id of the room.';
comment on column partial_joins.room_nid is 'The room. NULL: the join was not stored yet.';
comment on column partial_joins.join_nid is
    'The join event, whose state is the one that is loaded. NULL: it was not stored yet.';
comment on column partial_joins.server_name is
    'The server that the join was made through: it is asked first.';
comment on column partial_joins.servers is
    'The other servers in the room, as that server said. Each counts as one more member in '
    'destination_rooms while the room is partial.';
comment on column partial_joins.began_at is 'When the join was made.';
comment on column partial_joins.next_try_at is 'Nothing is loaded before.';
comment on column partial_joins.leased_until is
    'A node loads until then, and renews this as it goes. NULL: none does.';
comment on column partial_joins.attempts is 'How often loading has failed.';
comment on column partial_joins.last_error is 'Why it last failed. NULL: it did not.';
grant select, insert, update, delete on partial_joins to matriarch_api;

create table partial_states (
    event_nid bigint primary key,
    room_nid  bigint not null references rooms on delete cascade,
    lost      boolean not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
create index partial_states_room on partial_states (room_nid);
comment on table partial_states is
    'Events of partial rooms: the state before them lacks members, and is computed again when the room '
    'becomes whole. Then the rows are deleted.';
comment on column partial_states.event_nid is 'The event.';
comment on column partial_states.room_nid is 'The room.';
comment on column partial_states.lost is
    'Whether events before it cannot be obtained: other servers are asked for the state before it.';
comment on index partial_states_room is 'The events of a room whose states lack members.';
grant select on partial_states to matriarch_api;

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
comment on table out_of_band_memberships is
    'Invites, knocks and leaves of local users for rooms that this server has not joined: their member '
    'events are outside of any graph. A row is deleted when the room''s own state says what the user''s '
    'membership is.';
comment on column out_of_band_memberships.user_nid is 'The user.';
comment on column out_of_band_memberships.room_id is 'The Matrix id of the room.';
comment on column out_of_band_memberships.room_version is 'The room version, as the other server said.';
comment on column out_of_band_memberships.sender_nid is 'The user who invited, knocked, or ended it.';
comment on column out_of_band_memberships.xid is
    'The transaction of the last change: tells whether a sync token saw it.';
comment on column out_of_band_memberships.membership is 'invite, knock or leave.';
comment on column out_of_band_memberships.event is
    'The member event as a sync returns it, JSON text: stripped or, of a leave, whole. NULL: a leave that '
    'no server could be told of.';
comment on column out_of_band_memberships.state is
    'What the other server told of the room: stripped state events, JSON texts.';
