-- The schema `matriarch` as the migrations in `sql/` leave it: tables, keys, indexes, triggers, comments and
-- grants. Functions are in `pg_extension/sql/`, the schema `matrix` is in `sql/matrix/`, a drawing in
-- `docs/schema.md`.
-- Written by `scripts/schema-dump`, compared by `tests/test_schema.py`.

CREATE SCHEMA matriarch;

ALTER SCHEMA matriarch OWNER TO matriarch_owner;

CREATE DOMAIN matriarch.event_status AS smallint
	CONSTRAINT event_status_check CHECK (((VALUE >= 0) AND (VALUE <= 3)));

ALTER DOMAIN matriarch.event_status OWNER TO matriarch_owner;

COMMENT ON DOMAIN matriarch.event_status IS 'What was decided about a stored event: 0 accepted, 1 soft-failed, 2 rejected, 3 outlier (not judged by the state before it). Queries name them by the functions accepted(), soft_failed(), rejected() and outlier().';

CREATE FUNCTION matriarch.delete_events_of_room() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'matriarch', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
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

ALTER FUNCTION matriarch.delete_events_of_room() OWNER TO matriarch_owner;

COMMENT ON FUNCTION matriarch.delete_events_of_room() IS 'Trigger of rooms: deletes what belongs to a deleted room and has no foreign key to it. Foreign keys delete the rest.';

CREATE FUNCTION matriarch.keep_key_names() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'matriarch', 'pg_temp'
    AS $$
begin
    perform from users where user_nid = new.user_nid for share;
    -- A statement of its own: it sees what was committed while the lock was waited for.
    if exists (
        select from cross_signing_keys where user_nid = new.user_nid and public_key = new.device_id
    ) then
        return null;
    end if;
    return new;
end
$$;

ALTER FUNCTION matriarch.keep_key_names() OWNER TO matriarch_owner;

COMMENT ON FUNCTION matriarch.keep_key_names() IS 'Trigger of devices: inserts no device whose id is the public key of a cross-signing key of its user.';

CREATE FUNCTION matriarch.note_device_deletion() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'matriarch', 'pg_temp'
    AS $$
begin
    delete from key_signatures where user_nid = old.user_nid and key_name = old.device_id;
    if exists (select from device_keys where device_nid = old.device_nid) then
        perform record_generation();
        insert into device_list_changes (user_nid, device_id) values (old.user_nid, old.device_id);
    end if;
    return old;
end
$$;

ALTER FUNCTION matriarch.note_device_deletion() OWNER TO matriarch_owner;

COMMENT ON FUNCTION matriarch.note_device_deletion() IS 'Trigger of devices: deletes the signatures of a deleted device''s keys, and records the change of the device list.';

CREATE FUNCTION matriarch.note_membership_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'matriarch', 'pg_temp'
    AS $$
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

ALTER FUNCTION matriarch.note_membership_change() OWNER TO matriarch_owner;

COMMENT ON FUNCTION matriarch.note_membership_change() IS 'Trigger of memberships: records in membership_changes who is joined from now on.';

CREATE FUNCTION matriarch.queue_device_list_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'matriarch', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    AS $$
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

ALTER FUNCTION matriarch.queue_device_list_change() OWNER TO matriarch_owner;

COMMENT ON FUNCTION matriarch.queue_device_list_change() IS 'Trigger of device_list_changes: queues m.device_list_update or, for cross-signing keys, m.signing_key_update for the servers that share a room with the user. What they say of keys is read when they are sent. Of updates that were not sent yet the newest stays: a server that misses one asks for the whole list.';

CREATE TABLE matriarch.access_tokens (
    token_hash bytea NOT NULL,
    user_nid bigint NOT NULL,
    device_nid bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT access_tokens_token_hash_check CHECK ((length(token_hash) = 32))
);

ALTER TABLE matriarch.access_tokens OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.access_tokens IS 'Access tokens. Expired rows stay until a refresh or login replaces them: they tell the device that it may log in again.';

COMMENT ON COLUMN matriarch.access_tokens.token_hash IS 'SHA-256 of the access token.';

COMMENT ON COLUMN matriarch.access_tokens.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.access_tokens.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.access_tokens.created_at IS 'When it was given out.';

COMMENT ON COLUMN matriarch.access_tokens.expires_at IS 'When it expires. NULL: never. -infinity: the session was ended because a refresh token was replayed.';

CREATE TABLE matriarch.account_data (
    user_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    type text NOT NULL COLLATE pg_catalog."C",
    content text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

ALTER TABLE matriarch.account_data OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.account_data IS 'Account data. Tags (type m.tag) and the fully read marker (type m.fully_read) are among them.';

COMMENT ON COLUMN matriarch.account_data.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.account_data.room_nid IS 'The room that it is about. 0: global account data.';

COMMENT ON COLUMN matriarch.account_data.type IS 'The type of the account data.';

COMMENT ON COLUMN matriarch.account_data.content IS 'JSON text as the client sent it.';

COMMENT ON COLUMN matriarch.account_data.xid IS 'The transaction of the last change.';

CREATE TABLE matriarch.accounts (
    user_nid bigint NOT NULL,
    password_hash text,
    admin boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deactivated_at timestamp with time zone,
    erased boolean DEFAULT false NOT NULL
);

ALTER TABLE matriarch.accounts OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.accounts IS 'Users of this server. The name of a deactivated user is never given out again.';

COMMENT ON COLUMN matriarch.accounts.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.accounts.password_hash IS 'PHC string (argon2id). NULL: no login by password.';

COMMENT ON COLUMN matriarch.accounts.admin IS 'Whether the user is an administrator.';

COMMENT ON COLUMN matriarch.accounts.created_at IS 'When the account was made.';

COMMENT ON COLUMN matriarch.accounts.deactivated_at IS 'When the account was deactivated. NULL: it is in use.';

COMMENT ON COLUMN matriarch.accounts.erased IS 'Whether the account was deactivated with the wish that users who join later see the user''s events redacted.';

CREATE TABLE matriarch.agreed_terms (
    user_nid bigint NOT NULL,
    policy_id text NOT NULL COLLATE pg_catalog."C",
    version text NOT NULL COLLATE pg_catalog."C",
    agreed_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE matriarch.agreed_terms OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.agreed_terms IS 'Policy documents that users agreed to when they registered.';

COMMENT ON COLUMN matriarch.agreed_terms.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.agreed_terms.policy_id IS 'The document''s id in the configuration.';

COMMENT ON COLUMN matriarch.agreed_terms.version IS 'The version that the user agreed to.';

COMMENT ON COLUMN matriarch.agreed_terms.agreed_at IS 'When the user agreed.';

CREATE TABLE matriarch.cross_signing_keys (
    user_nid bigint NOT NULL,
    usage text NOT NULL COLLATE pg_catalog."C",
    public_key text NOT NULL COLLATE pg_catalog."C",
    keys text NOT NULL,
    CONSTRAINT cross_signing_keys_usage_check CHECK ((usage = ANY (ARRAY['master'::text, 'self_signing'::text, 'user_signing'::text])))
);

ALTER TABLE matriarch.cross_signing_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.cross_signing_keys IS 'The newest cross-signing key of each user and usage.';

COMMENT ON COLUMN matriarch.cross_signing_keys.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.cross_signing_keys.usage IS 'master, self_signing or user_signing.';

COMMENT ON COLUMN matriarch.cross_signing_keys.public_key IS 'The ed25519 key in unpadded base64.';

COMMENT ON COLUMN matriarch.cross_signing_keys.keys IS 'The JSON object as uploaded, with its signatures.';

CREATE TABLE matriarch.dehydrated_devices (
    user_nid bigint NOT NULL,
    device_nid bigint NOT NULL,
    device_data text NOT NULL
);

ALTER TABLE matriarch.dehydrated_devices OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.dehydrated_devices IS 'The one device of a user that receives messages while no client holds it (MSC3814). It has a row of devices, and keys, but no token.';

COMMENT ON COLUMN matriarch.dehydrated_devices.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.dehydrated_devices.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.dehydrated_devices.device_data IS 'JSON as the client sent it.';

CREATE TABLE matriarch.destination_rooms (
    destination_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    joined_members integer NOT NULL,
    sent_nid bigint NOT NULL,
    left_nid bigint,
    pending_since timestamp with time zone,
    CONSTRAINT destination_rooms_joined_members_check CHECK ((joined_members >= 0))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.destination_rooms OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.destination_rooms IS 'Which other servers are in which rooms, and how far each has been sent the room''s events. Rows are locked in the order of their primary key.';

COMMENT ON COLUMN matriarch.destination_rooms.destination_nid IS 'The server.';

COMMENT ON COLUMN matriarch.destination_rooms.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.destination_rooms.joined_members IS 'How many users of the server are joined.';

COMMENT ON COLUMN matriarch.destination_rooms.sent_nid IS 'The server has been sent the outgoing events up to this one. When a server joins the room, it is the event of its first member.';

COMMENT ON COLUMN matriarch.destination_rooms.left_nid IS 'The event by which the last of its members left, which is the last that it is sent; the row is deleted then. NULL: it has members.';

COMMENT ON COLUMN matriarch.destination_rooms.pending_since IS 'Since when there may be something to send, or when the last transaction was made. NULL: there is nothing. It is set under the room''s lock, and reset only while no append to the room is in progress.';

CREATE TABLE matriarch.destinations (
    destination_nid bigint NOT NULL,
    server_name text NOT NULL COLLATE pg_catalog."C",
    retry_at timestamp with time zone,
    retry_interval interval,
    failing_since timestamp with time zone,
    last_success_at timestamp with time zone,
    last_error text,
    lease text COLLATE pg_catalog."C",
    leased_until timestamp with time zone,
    txn_id text COLLATE pg_catalog."C",
    txn_created_at timestamp with time zone,
    txn_event_nids bigint[],
    txn_edu_ids bigint[],
    txn_refusals integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.destinations OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.destinations IS 'Other servers, and the federation transaction that each is being sent: one at a time. A row''s lease is the right to send to that server.';

COMMENT ON COLUMN matriarch.destinations.destination_nid IS 'Number of the server here.';

COMMENT ON COLUMN matriarch.destinations.server_name IS 'The server.';

COMMENT ON COLUMN matriarch.destinations.retry_at IS 'Nothing is sent before. NULL: the server answers.';

COMMENT ON COLUMN matriarch.destinations.retry_interval IS 'The last pause between attempts; the next is twice as long. NULL: the server answers.';

COMMENT ON COLUMN matriarch.destinations.failing_since IS 'When it ceased to answer. NULL: it answers.';

COMMENT ON COLUMN matriarch.destinations.last_success_at IS 'When it last took a transaction. NULL: it never did.';

COMMENT ON COLUMN matriarch.destinations.last_error IS 'Why the last attempt failed. NULL: it did not.';

COMMENT ON COLUMN matriarch.destinations.lease IS 'The node that sends, until leased_until. It renews the lease as it goes; another may take it over after that. NULL: none sends.';

COMMENT ON COLUMN matriarch.destinations.leased_until IS 'When the lease ends unless it is renewed. NULL: there is no lease.';

COMMENT ON COLUMN matriarch.destinations.txn_id IS 'Id of the transaction in progress: it is repeated under this id, with what the next columns say, until the server has answered. NULL: there is none.';

COMMENT ON COLUMN matriarch.destinations.txn_created_at IS 'When the transaction in progress was made. NULL: there is none.';

COMMENT ON COLUMN matriarch.destinations.txn_event_nids IS 'The events of the transaction in progress. NULL: there is none.';

COMMENT ON COLUMN matriarch.destinations.txn_edu_ids IS 'The EDUs of the transaction in progress: edu_ids of outgoing_edus. NULL: there is none.';

COMMENT ON COLUMN matriarch.destinations.txn_refusals IS 'How often the server refused the transaction in progress in a way that repeating it does not mend.';

ALTER TABLE matriarch.destinations ALTER COLUMN destination_nid ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.destinations_destination_nid_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.device_keys (
    user_nid bigint NOT NULL,
    device_id text NOT NULL COLLATE pg_catalog."C",
    device_nid bigint,
    keys text NOT NULL
);

ALTER TABLE matriarch.device_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.device_keys IS 'Identity keys of devices, of this server''s users and of others.';

COMMENT ON COLUMN matriarch.device_keys.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.device_keys.device_id IS 'The Matrix id of the device.';

COMMENT ON COLUMN matriarch.device_keys.device_nid IS 'The device. NULL: a device of a remote user.';

COMMENT ON COLUMN matriarch.device_keys.keys IS 'The JSON object as uploaded, with its signatures, without unsigned.';

CREATE TABLE matriarch.device_list_changes (
    user_nid bigint NOT NULL,
    stream_id bigint NOT NULL,
    device_id text COLLATE pg_catalog."C",
    audience bigint,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE matriarch.device_list_changes OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.device_list_changes IS 'Changes of users'' devices, of their keys, names and signatures, and of cross-signing keys. Each user''s newest stays; the nodes'' housekeeping deletes older ones after 90 days.';

COMMENT ON COLUMN matriarch.device_list_changes.user_nid IS 'The user whose device list changed.';

COMMENT ON COLUMN matriarch.device_list_changes.stream_id IS 'Ascending for each user: stream_id and prev_id of m.device_list_update.';

COMMENT ON COLUMN matriarch.device_list_changes.device_id IS 'The device that changed or was deleted. NULL: cross-signing keys, or signatures of them.';

COMMENT ON COLUMN matriarch.device_list_changes.audience IS 'The only user who sees the change: the one who signed another''s master key, or who has a new user-signing key. NULL: the user, and all who share a room with the user.';

COMMENT ON COLUMN matriarch.device_list_changes.xid IS 'The transaction of the change: tells whether a sync token saw it.';

COMMENT ON COLUMN matriarch.device_list_changes.created_at IS 'When the change was made.';

ALTER TABLE matriarch.device_list_changes ALTER COLUMN stream_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.device_list_changes_stream_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.devices (
    device_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    device_id text NOT NULL COLLATE pg_catalog."C",
    display_name text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone,
    last_seen_ip text
);

ALTER TABLE matriarch.devices OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.devices IS 'Devices of this server''s users. Logging out deletes the device.';

COMMENT ON COLUMN matriarch.devices.device_nid IS 'Number of the device here.';

COMMENT ON COLUMN matriarch.devices.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.devices.device_id IS 'The Matrix id of the device.';

COMMENT ON COLUMN matriarch.devices.display_name IS 'Its name for the user. NULL: none was given.';

COMMENT ON COLUMN matriarch.devices.created_at IS 'When the user logged in on it.';

COMMENT ON COLUMN matriarch.devices.last_seen_at IS 'When it last sent a request. Nodes write it from time to time, not by each request. NULL: not yet.';

COMMENT ON COLUMN matriarch.devices.last_seen_ip IS 'The address that it last sent a request from. NULL: not known.';

ALTER TABLE matriarch.devices ALTER COLUMN device_nid ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.devices_device_nid_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.dropped_server_keys (
    server_name text NOT NULL COLLATE pg_catalog."C",
    key_id text NOT NULL COLLATE pg_catalog."C",
    dropped_at timestamp with time zone DEFAULT now() NOT NULL,
    response text NOT NULL
);

ALTER TABLE matriarch.dropped_server_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.dropped_server_keys IS 'Keys of other servers that a newer answer of the server does not have any more, also not among the old ones: the last answer that had them, for servers that ask this one as a notary. When keys are added, the newest of each server are kept.';

COMMENT ON COLUMN matriarch.dropped_server_keys.server_name IS 'The server.';

COMMENT ON COLUMN matriarch.dropped_server_keys.key_id IS 'Name of the key in signatures.';

COMMENT ON COLUMN matriarch.dropped_server_keys.dropped_at IS 'When the first answer without the key was stored.';

COMMENT ON COLUMN matriarch.dropped_server_keys.response IS 'JSON as the server signed it.';

CREATE TABLE matriarch.erasures (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    pos bigint NOT NULL
);

ALTER TABLE matriarch.erasures OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.erasures IS 'Users who deactivated their accounts and asked to be erased, by the rooms that they were in. Users and servers that join later get redacted copies of their events. Rows are deleted with the room.';

COMMENT ON COLUMN matriarch.erasures.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.erasures.user_nid IS 'The user who was erased.';

COMMENT ON COLUMN matriarch.erasures.pos IS 'The last position of the room then: users who were joined there still see the events.';

CREATE TABLE matriarch.event_auth_edges (
    auth_nid bigint NOT NULL,
    event_nid bigint NOT NULL,
    CONSTRAINT event_auth_edges_check CHECK ((auth_nid < event_nid))
);

ALTER TABLE matriarch.event_auth_edges OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.event_auth_edges IS 'Which events cite an event in auth_events; accepted state events only, so that a search upward stays small. The direction downward is events.auth_nids. No foreign keys: edges are written with their events, under the room''s lock, and the checks cost more than the edges.';

COMMENT ON COLUMN matriarch.event_auth_edges.auth_nid IS 'The event that is cited.';

COMMENT ON COLUMN matriarch.event_auth_edges.event_nid IS 'The event that cites it.';

CREATE TABLE matriarch.events (
    event_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    pos bigint,
    depth bigint NOT NULL,
    origin_server_ts bigint NOT NULL,
    sender_nid bigint NOT NULL,
    state_before bigint,
    room_root bigint,
    redacted_by bigint,
    device_nid bigint,
    thread_root_nid bigint,
    notify_seq bigint DEFAULT 0 NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    key_idx integer,
    status matriarch.event_status DEFAULT 0 NOT NULL,
    notifies boolean DEFAULT false NOT NULL,
    superseded boolean DEFAULT false NOT NULL,
    state_given boolean DEFAULT false NOT NULL,
    outgoing boolean DEFAULT false NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL COLLATE pg_catalog."C",
    txn_id text COLLATE pg_catalog."C",
    status_reason text,
    prev_nids bigint[] NOT NULL,
    auth_nids bigint[] NOT NULL,
    mentions text[] COLLATE pg_catalog."C",
    json text NOT NULL COLLATE pg_catalog."C",
    withheld boolean DEFAULT false NOT NULL,
    notified boolean DEFAULT false NOT NULL,
    received_at timestamp with time zone DEFAULT now(),
    CONSTRAINT events_check CHECK (((pos IS NULL) OR ((status)::smallint = 0)))
)
WITH (autovacuum_vacuum_insert_scale_factor='0.05', autovacuum_analyze_scale_factor='0.02');

ALTER TABLE matriarch.events OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.events IS 'Every event known, also rejected ones and outliers. event_nid is monotone over auth edges: an event is stored after all its auth events.';

COMMENT ON COLUMN matriarch.events.event_nid IS 'Number of the event here. It is greater than those of its auth events.';

COMMENT ON COLUMN matriarch.events.room_nid IS 'The room. No foreign key: the append holds the room''s lock, and the check would cost each event a query.';

COMMENT ON COLUMN matriarch.events.pos IS 'Position in the room''s timeline, in the order that clients see; steps leave room for events found later. NULL: not in the timeline.';

COMMENT ON COLUMN matriarch.events.depth IS 'The depth that the event claims.';

COMMENT ON COLUMN matriarch.events.origin_server_ts IS 'Milliseconds since 1970, as the sender''s server claims.';

COMMENT ON COLUMN matriarch.events.sender_nid IS 'The user who sent the event.';

COMMENT ON COLUMN matriarch.events.state_before IS 'State before the event, as a root in state_nodes. 0 is the empty state. NULL: unknown, never empty.';

COMMENT ON COLUMN matriarch.events.room_root IS 'The room''s current state just after the event was stored, as a root in state_nodes, where other branches make it differ from the state after the event. NULL: it is that state, or the event is not in the timeline.';

COMMENT ON COLUMN matriarch.events.redacted_by IS 'The redaction that was applied to the event; json is then the redacted form. NULL: not redacted.';

COMMENT ON COLUMN matriarch.events.device_nid IS 'The local device that sent the event with txn_id, which makes sending idempotent. NULL: no transaction id was given.';

COMMENT ON COLUMN matriarch.events.thread_root_nid IS 'The event that it relates to by m.thread, if that is in the room. NULL: not in a thread.';

COMMENT ON COLUMN matriarch.events.notify_seq IS 'rooms.notify_seq after this event: unread counts are differences of it.';

COMMENT ON COLUMN matriarch.events.xid IS 'The transaction that stored it, or last changed what clients see of it.';

COMMENT ON COLUMN matriarch.events.key_idx IS 'The state key, in room_state_keys, of a state event. NULL: a message event, or a rejected event.';

COMMENT ON COLUMN matriarch.events.status IS 'Accepted, soft-failed, rejected or outlier: see the domain event_status.';

COMMENT ON COLUMN matriarch.events.notifies IS 'Whether it notifies members other than the sender, by the default push rules.';

COMMENT ON COLUMN matriarch.events.superseded IS 'Of soft-failed and rejected events: an accepted event cites it, directly or through others that were not accepted. Of accepted events: it was a forward extremity when the last local user left, and ended as one when the next joined through another server.';

COMMENT ON COLUMN matriarch.events.state_given IS 'Whether state_before was given with the event because its prev_events could not be obtained. It stays, also once they are here, whatever they resolve to.';

COMMENT ON COLUMN matriarch.events.outgoing IS 'Whether this server sends it to the other servers of the room: its own events, made while there were others, and those that joining, knocking and leaving servers leave to it.';

COMMENT ON COLUMN matriarch.events.event_id IS 'The Matrix id of the event.';

COMMENT ON COLUMN matriarch.events.type IS 'The event type.';

COMMENT ON COLUMN matriarch.events.txn_id IS 'Transaction id that the device sent it with. NULL: none was given.';

COMMENT ON COLUMN matriarch.events.status_reason IS 'Why it was not accepted, in words. NULL for accepted events.';

COMMENT ON COLUMN matriarch.events.prev_nids IS 'event_nids of its prev_events, as far as they are in the graph.';

COMMENT ON COLUMN matriarch.events.auth_nids IS 'event_nids of its auth_events, as far as they are stored.';

COMMENT ON COLUMN matriarch.events.mentions IS 'User ids of m.mentions that this server knows; @room for a permitted mention of all, and for tombstones. NULL: nobody is mentioned.';

COMMENT ON COLUMN matriarch.events.json IS 'The event as signed, in canonical JSON, without unsigned. Text and not jsonb: jsonb refuses \u0000 and folds numbers.';

COMMENT ON COLUMN matriarch.events.withheld IS 'Of redactions: whether clients do not get it, because its target is not stored yet, or may not be redacted by its sender. A redaction that has an effect later is shown from then on.';

COMMENT ON COLUMN matriarch.events.notified IS 'Of redacted events: whether it notified in the main timeline before, so that notify_seq counts it. Unread counts subtract it.';

COMMENT ON COLUMN matriarch.events.received_at IS 'When the database transaction began that stored the event. NULL: before this column was added.';

CREATE SEQUENCE matriarch.event_nids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE matriarch.event_nids OWNER TO matriarch_owner;

ALTER SEQUENCE matriarch.event_nids OWNED BY matriarch.events.event_nid;

COMMENT ON SEQUENCE matriarch.event_nids IS 'Gives events their event_nid. cache 1 always: an event''s auth events must have smaller nids, whatever session stored them.';

CREATE TABLE matriarch.events_without_successor (
    event_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE matriarch.events_without_successor OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.events_without_successor IS 'Backfilled events that no event of the timeline is known to follow. If one is received as a new event after all, it gets a new position and becomes a forward extremity. A row is deleted then, when an event of the timeline cites the event, and by the nodes'' housekeeping after 30 days.';

COMMENT ON COLUMN matriarch.events_without_successor.event_nid IS 'The event.';

COMMENT ON COLUMN matriarch.events_without_successor.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.events_without_successor.event_id IS 'The Matrix id of the event.';

COMMENT ON COLUMN matriarch.events_without_successor.created_at IS 'When the event was backfilled.';

CREATE TABLE matriarch.fallback_keys (
    device_nid bigint NOT NULL,
    algorithm text NOT NULL COLLATE pg_catalog."C",
    key_id text NOT NULL COLLATE pg_catalog."C",
    used boolean DEFAULT false NOT NULL,
    key text NOT NULL,
    CONSTRAINT fallback_keys_algorithm_check CHECK ((octet_length(algorithm) <= 255)),
    CONSTRAINT fallback_keys_key_id_check CHECK ((octet_length(key_id) <= 255))
);

ALTER TABLE matriarch.fallback_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.fallback_keys IS 'Fallback keys. One is handed out when no one-time key is left, again and again until it is replaced.';

COMMENT ON COLUMN matriarch.fallback_keys.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.fallback_keys.algorithm IS 'The algorithm; 255 bytes at most.';

COMMENT ON COLUMN matriarch.fallback_keys.key_id IS 'The id of the key; 255 bytes at most.';

COMMENT ON COLUMN matriarch.fallback_keys.used IS 'Whether it was handed out.';

COMMENT ON COLUMN matriarch.fallback_keys.key IS 'JSON as uploaded.';

CREATE TABLE matriarch.filters (
    user_nid bigint NOT NULL,
    filter_id bigint NOT NULL,
    content_hash bytea NOT NULL,
    content text NOT NULL
);

ALTER TABLE matriarch.filters OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.filters IS 'Uploaded filters. The same filter uploaded twice is one row.';

COMMENT ON COLUMN matriarch.filters.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.filters.filter_id IS 'The id by which the client names the filter.';

COMMENT ON COLUMN matriarch.filters.content_hash IS 'Hash of content: finds a filter that was uploaded before.';

COMMENT ON COLUMN matriarch.filters.content IS 'The filter as canonical JSON.';

ALTER TABLE matriarch.filters ALTER COLUMN filter_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.filters_filter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.generations (
    generation_nid bigint NOT NULL,
    mark text NOT NULL COLLATE pg_catalog."C",
    timeline text NOT NULL COLLATE pg_catalog."C",
    started_at timestamp with time zone DEFAULT pg_postmaster_start_time() NOT NULL,
    first_xid xid8 DEFAULT pg_snapshot_xmin(pg_current_snapshot()) NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

ALTER TABLE matriarch.generations OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.generations IS 'Runs of the database server in which something was written. Transaction ids from the newest first_xid on may have been given out before, to transactions that a crash, a failover or a restore undid: a sync token of an earlier generation is taken to have seen none of them. Rows are kept; there are a few a year.';

COMMENT ON COLUMN matriarch.generations.generation_nid IS 'Ascending in the order of the runs.';

COMMENT ON COLUMN matriarch.generations.mark IS 'What sync tokens of the generation begin with. It is made from the system identifier, the timeline of the WAL and the time of the start.';

COMMENT ON COLUMN matriarch.generations.timeline IS 'System identifier of the cluster, and timeline of its write-ahead log.';

COMMENT ON COLUMN matriarch.generations.started_at IS 'When the database server started.';

COMMENT ON COLUMN matriarch.generations.first_xid IS 'No transaction of the generation that wrote anything has an earlier id.';

COMMENT ON COLUMN matriarch.generations.xid IS 'The transaction that recorded the generation.';

ALTER TABLE matriarch.generations ALTER COLUMN generation_nid ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.generations_generation_nid_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE UNLOGGED TABLE matriarch.held_receipts (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    thread_id text NOT NULL COLLATE pg_catalog."C",
    event_id text NOT NULL COLLATE pg_catalog."C",
    ts bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.held_receipts OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.held_receipts IS 'The newest receipt of a remote user that came before its event. It takes effect with the next event of the room; the nodes'' housekeeping deletes it after an hour. Unlogged: a crash of the database forgets it, and the user''s next receipt makes up for it.';

COMMENT ON COLUMN matriarch.held_receipts.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.held_receipts.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.held_receipts.thread_id IS 'As in receipts.';

COMMENT ON COLUMN matriarch.held_receipts.event_id IS 'The Matrix id of the event that was read and is not stored yet.';

COMMENT ON COLUMN matriarch.held_receipts.ts IS 'When it was read: milliseconds since 1970.';

COMMENT ON COLUMN matriarch.held_receipts.received_at IS 'When the receipt was received.';

CREATE TABLE matriarch.history_gaps (
    room_nid bigint NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    leased_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    last_error text
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.history_gaps OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.history_gaps IS 'Gaps before events (rows of missing_prev_events) that a node is filling, or could not fill lately. A row is deleted when its gap is filled, and by the nodes'' housekeeping a week after it may be tried again.';

COMMENT ON COLUMN matriarch.history_gaps.room_nid IS 'The room. No foreign key: the check would wait for appends to the room.';

COMMENT ON COLUMN matriarch.history_gaps.event_id IS 'The Matrix id of the event before which others are missing.';

COMMENT ON COLUMN matriarch.history_gaps.leased_until IS 'A node asks other servers, until then at least. NULL: none does.';

COMMENT ON COLUMN matriarch.history_gaps.attempts IS 'How often no server could fill it.';

COMMENT ON COLUMN matriarch.history_gaps.next_try_at IS 'Until then no server is asked, and readers pass over the gap.';

COMMENT ON COLUMN matriarch.history_gaps.last_error IS 'Why it could not be filled. NULL: it was not tried to the end.';

CREATE TABLE matriarch.inbound_pdus (
    room_nid bigint NOT NULL,
    origin text NOT NULL COLLATE pg_catalog."C",
    inbound_id bigint NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    last_error text,
    json text NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500', autovacuum_vacuum_insert_scale_factor='0.2');

ALTER TABLE matriarch.inbound_pdus OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.inbound_pdus IS 'Staged events: other servers sent them, they were acknowledged, and have not been through intake. A row is deleted when its event was taken in, is none, or was tried too often.';

COMMENT ON COLUMN matriarch.inbound_pdus.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.inbound_pdus.origin IS 'The server that sent it, which need not be the sender''s.';

COMMENT ON COLUMN matriarch.inbound_pdus.inbound_id IS 'Ascending in the order in which the events were received.';

COMMENT ON COLUMN matriarch.inbound_pdus.event_id IS 'The Matrix id, as the JSON says. Signatures were not checked yet: several servers may send different forms.';

COMMENT ON COLUMN matriarch.inbound_pdus.received_at IS 'When it was received.';

COMMENT ON COLUMN matriarch.inbound_pdus.attempts IS 'How often intake was tried in vain.';

COMMENT ON COLUMN matriarch.inbound_pdus.next_try_at IS 'It is left alone until then.';

COMMENT ON COLUMN matriarch.inbound_pdus.last_error IS 'What the event lacked at the last attempt. NULL: it was not tried.';

COMMENT ON COLUMN matriarch.inbound_pdus.json IS 'As received.';

ALTER TABLE matriarch.inbound_pdus ALTER COLUMN inbound_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.inbound_pdus_inbound_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.inbound_queues (
    room_nid bigint NOT NULL,
    origin text NOT NULL COLLATE pg_catalog."C",
    generation bigint DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    leased_until timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='200');

ALTER TABLE matriarch.inbound_queues OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.inbound_queues IS 'Rooms and servers with events in inbound_pdus. One node at a time works on a row. Each server has a queue of its own in a room, so that one that is slow to give what its events need delays its own events only.';

COMMENT ON COLUMN matriarch.inbound_queues.room_nid IS 'The room. No foreign key: the check would wait for appends to the room.';

COMMENT ON COLUMN matriarch.inbound_queues.origin IS 'The server that sent the events.';

COMMENT ON COLUMN matriarch.inbound_queues.generation IS 'Counts transactions that added to the queue: a node that worked it off deletes the row only if none was added meanwhile.';

COMMENT ON COLUMN matriarch.inbound_queues.next_try_at IS 'The queue is left alone until then.';

COMMENT ON COLUMN matriarch.inbound_queues.leased_until IS 'A node works on it, until then at least. NULL: none does.';

CREATE TABLE matriarch.inbound_to_device (
    origin text NOT NULL COLLATE pg_catalog."C",
    message_id text NOT NULL COLLATE pg_catalog."C",
    received_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.inbound_to_device OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.inbound_to_device IS 'Send-to-device messages of other servers that were taken, so that a repeated one does nothing. The nodes'' housekeeping deletes the rows after a week.';

COMMENT ON COLUMN matriarch.inbound_to_device.origin IS 'The server that sent it.';

COMMENT ON COLUMN matriarch.inbound_to_device.message_id IS 'message_id of the EDU.';

COMMENT ON COLUMN matriarch.inbound_to_device.received_at IS 'When it was received.';

CREATE TABLE matriarch.inbound_transactions (
    origin text NOT NULL COLLATE pg_catalog."C",
    txn_id text NOT NULL COLLATE pg_catalog."C",
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    response text NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.inbound_transactions OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.inbound_transactions IS 'Federation transactions that were acknowledged: a repeated one gets the same answer, and does nothing. The nodes'' housekeeping deletes them after a day.';

COMMENT ON COLUMN matriarch.inbound_transactions.origin IS 'The server that sent it.';

COMMENT ON COLUMN matriarch.inbound_transactions.txn_id IS 'Its transaction id.';

COMMENT ON COLUMN matriarch.inbound_transactions.received_at IS 'When it was received.';

COMMENT ON COLUMN matriarch.inbound_transactions.response IS 'JSON as answered.';

CREATE TABLE matriarch.joins_in_progress (
    room_id text NOT NULL COLLATE pg_catalog."C",
    until timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='500');

ALTER TABLE matriarch.joins_in_progress OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.joins_in_progress IS 'Rooms of other servers that users of this one are just joining. The servers in them may send events before the room''s state was read, and are kept waiting for a moment.';

COMMENT ON COLUMN matriarch.joins_in_progress.room_id IS 'The Matrix id of the room.';

COMMENT ON COLUMN matriarch.joins_in_progress.until IS 'When the join has failed at the latest, as far as senders are concerned. The node deletes the row when the join ends; housekeeping deletes those of nodes that died.';

CREATE TABLE matriarch.key_backup_keys (
    user_nid bigint NOT NULL,
    version bigint NOT NULL,
    room_id text NOT NULL COLLATE pg_catalog."C",
    session_id text NOT NULL COLLATE pg_catalog."C",
    first_message_index bigint NOT NULL,
    forwarded_count bigint NOT NULL,
    is_verified boolean NOT NULL,
    session_data text NOT NULL,
    CONSTRAINT key_backup_keys_room_id_check CHECK ((octet_length(room_id) <= 255)),
    CONSTRAINT key_backup_keys_session_id_check CHECK ((octet_length(session_id) <= 255))
);

ALTER TABLE matriarch.key_backup_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.key_backup_keys IS 'Room keys in backups, encrypted by the clients. They are deleted with their version.';

COMMENT ON COLUMN matriarch.key_backup_keys.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.key_backup_keys.version IS 'The backup.';

COMMENT ON COLUMN matriarch.key_backup_keys.room_id IS 'The Matrix id of the room, which need not be known here; 255 bytes at most.';

COMMENT ON COLUMN matriarch.key_backup_keys.session_id IS 'The id of the session; 255 bytes at most.';

COMMENT ON COLUMN matriarch.key_backup_keys.first_message_index IS 'As the client sent it.';

COMMENT ON COLUMN matriarch.key_backup_keys.forwarded_count IS 'As the client sent it.';

COMMENT ON COLUMN matriarch.key_backup_keys.is_verified IS 'As the client sent it.';

COMMENT ON COLUMN matriarch.key_backup_keys.session_data IS 'JSON as the client sent it.';

CREATE TABLE matriarch.key_backup_versions (
    user_nid bigint NOT NULL,
    version bigint NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    etag bigint DEFAULT 0 NOT NULL,
    key_count bigint DEFAULT 0 NOT NULL,
    algorithm text NOT NULL,
    auth_data text NOT NULL,
    CONSTRAINT key_backup_versions_version_check CHECK ((version > 0))
);

ALTER TABLE matriarch.key_backup_versions OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.key_backup_versions IS 'Backups of room keys. The newest that is not deleted is the current one. Its row is locked before its keys are written.';

COMMENT ON COLUMN matriarch.key_backup_versions.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.key_backup_versions.version IS 'The version of the backup, from 1.';

COMMENT ON COLUMN matriarch.key_backup_versions.deleted IS 'Whether it was deleted. Its keys are gone; the row stays, so that the version is not given out again.';

COMMENT ON COLUMN matriarch.key_backup_versions.etag IS 'Grows with each change of the keys.';

COMMENT ON COLUMN matriarch.key_backup_versions.key_count IS 'How many keys it holds.';

COMMENT ON COLUMN matriarch.key_backup_versions.algorithm IS 'The algorithm, as the client sent it.';

COMMENT ON COLUMN matriarch.key_backup_versions.auth_data IS 'JSON as the client sent it.';

CREATE TABLE matriarch.key_signatures (
    user_nid bigint NOT NULL,
    key_name text NOT NULL COLLATE pg_catalog."C",
    signer_nid bigint NOT NULL,
    signer_key_id text NOT NULL COLLATE pg_catalog."C",
    signature text NOT NULL,
    CONSTRAINT key_signatures_key_name_check CHECK ((octet_length(key_name) <= 255)),
    CONSTRAINT key_signatures_signer_key_id_check CHECK ((octet_length(signer_key_id) <= 263))
);

ALTER TABLE matriarch.key_signatures OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.key_signatures IS 'Signatures that were uploaded for keys which were stored before. They are deleted with the device or the cross-signing key that they sign.';

COMMENT ON COLUMN matriarch.key_signatures.user_nid IS 'The user whose key is signed.';

COMMENT ON COLUMN matriarch.key_signatures.key_name IS 'The signed device''s id, or the public key of the signed cross-signing key.';

COMMENT ON COLUMN matriarch.key_signatures.signer_nid IS 'The user who signed.';

COMMENT ON COLUMN matriarch.key_signatures.signer_key_id IS 'The key that signed: ed25519:, and a device''s id of up to 255 bytes, or a public key.';

COMMENT ON COLUMN matriarch.key_signatures.signature IS 'The signature in unpadded base64.';

CREATE TABLE matriarch.local_annotations (
    room_nid bigint NOT NULL,
    sender_nid bigint NOT NULL,
    annotation_hash bytea NOT NULL,
    event_nid bigint NOT NULL,
    CONSTRAINT local_annotations_annotation_hash_check CHECK ((length(annotation_hash) = 32))
);

ALTER TABLE matriarch.local_annotations OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.local_annotations IS 'Annotations, such as reactions, by local users: a user sends each once. Rows last as long as the event, as does the rule; one whose event was redacted is replaced by the next of its kind.';

COMMENT ON COLUMN matriarch.local_annotations.room_nid IS 'The room, whose lock protects the row.';

COMMENT ON COLUMN matriarch.local_annotations.sender_nid IS 'The user.';

COMMENT ON COLUMN matriarch.local_annotations.annotation_hash IS 'SHA-256 of the JSON array of the annotated event''s id, the annotation''s event type and its key.';

COMMENT ON COLUMN matriarch.local_annotations.event_nid IS 'The newest such annotation.';

CREATE TABLE matriarch.membership_changes (
    room_nid bigint NOT NULL,
    change_id bigint NOT NULL,
    user_nid bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    joined boolean NOT NULL
);

ALTER TABLE matriarch.membership_changes OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.membership_changes IS 'When users joined rooms and ceased to be joined. Triggers of memberships write it. It tells whether a user was joined when a sync token was made: the opposite of the first change after it or, if there is none, what memberships says. Rows are deleted with the room.';

COMMENT ON COLUMN matriarch.membership_changes.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.membership_changes.change_id IS 'Ascending in the order of the changes of a room.';

COMMENT ON COLUMN matriarch.membership_changes.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.membership_changes.xid IS 'The transaction of the change.';

COMMENT ON COLUMN matriarch.membership_changes.joined IS 'Whether the user is joined from the change on.';

ALTER TABLE matriarch.membership_changes ALTER COLUMN change_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.membership_changes_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.memberships (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    event_nid bigint NOT NULL,
    sender_nid bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    membership text NOT NULL COLLATE pg_catalog."C",
    forgotten boolean DEFAULT false NOT NULL,
    display_name text,
    avatar_url text,
    CONSTRAINT memberships_membership_check CHECK ((membership = ANY (ARRAY['join'::text, 'invite'::text, 'knock'::text, 'leave'::text, 'ban'::text])))
)
WITH (fillfactor='80');

ALTER TABLE matriarch.memberships OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.memberships IS 'The m.room.member events of the current state as flat rows, kept in step with room_state_keys.';

COMMENT ON COLUMN matriarch.memberships.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.memberships.user_nid IS 'The user whose membership it is.';

COMMENT ON COLUMN matriarch.memberships.event_nid IS 'The m.room.member event.';

COMMENT ON COLUMN matriarch.memberships.sender_nid IS 'The user who sent it.';

COMMENT ON COLUMN matriarch.memberships.xid IS 'The transaction that last changed the row.';

COMMENT ON COLUMN matriarch.memberships.membership IS 'join, invite, knock, leave or ban.';

COMMENT ON COLUMN matriarch.memberships.forgotten IS 'Whether the user forgot the room after leaving it.';

COMMENT ON COLUMN matriarch.memberships.display_name IS 'displayname in the event. NULL: it has none.';

COMMENT ON COLUMN matriarch.memberships.avatar_url IS 'avatar_url in the event. NULL: it has none.';

CREATE TABLE matriarch.missing_prev_events (
    room_nid bigint NOT NULL,
    prev_event_id text NOT NULL COLLATE pg_catalog."C",
    event_nid bigint NOT NULL
);

ALTER TABLE matriarch.missing_prev_events OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.missing_prev_events IS 'prev_events of stored events that are not in the graph themselves: the backward extremities. A row is deleted when the event is stored; events.prev_nids has it then.';

COMMENT ON COLUMN matriarch.missing_prev_events.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.missing_prev_events.prev_event_id IS 'The Matrix id of the event that is missing.';

COMMENT ON COLUMN matriarch.missing_prev_events.event_nid IS 'The stored event that cites it. No foreign key: events are stored and purged under the room''s lock.';

CREATE TABLE matriarch.missing_redacted_events (
    room_nid bigint NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    redaction_nid bigint NOT NULL
);

ALTER TABLE matriarch.missing_redacted_events OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.missing_redacted_events IS 'Targets of accepted redactions that are not stored yet. A row is deleted when the event is stored.';

COMMENT ON COLUMN matriarch.missing_redacted_events.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.missing_redacted_events.event_id IS 'The Matrix id of the target.';

COMMENT ON COLUMN matriarch.missing_redacted_events.redaction_nid IS 'The redaction.';

CREATE SEQUENCE matriarch.one_time_key_uploads
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE matriarch.one_time_key_uploads OWNER TO matriarch_owner;

COMMENT ON SEQUENCE matriarch.one_time_key_uploads IS 'Numbers uploads of one-time keys.';

CREATE TABLE matriarch.one_time_keys (
    device_nid bigint NOT NULL,
    algorithm text NOT NULL COLLATE pg_catalog."C",
    key_id text NOT NULL COLLATE pg_catalog."C",
    upload_id bigint NOT NULL,
    timeline text NOT NULL COLLATE pg_catalog."C",
    claimed_at timestamp with time zone,
    key text NOT NULL,
    CONSTRAINT one_time_keys_algorithm_check CHECK ((octet_length(algorithm) <= 255)),
    CONSTRAINT one_time_keys_key_id_check CHECK ((octet_length(key_id) <= 255))
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02');

ALTER TABLE matriarch.one_time_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.one_time_keys IS 'One-time keys. Those that were handed out stay for 30 days, so that a repeated upload cannot bring one back; the nodes'' housekeeping deletes them.';

COMMENT ON COLUMN matriarch.one_time_keys.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.one_time_keys.algorithm IS 'The algorithm; 255 bytes at most.';

COMMENT ON COLUMN matriarch.one_time_keys.key_id IS 'The id of the key; 255 bytes at most.';

COMMENT ON COLUMN matriarch.one_time_keys.upload_id IS 'From one_time_key_uploads: keys are handed out in the order of their uploads.';

COMMENT ON COLUMN matriarch.one_time_keys.timeline IS 'System identifier of the cluster that took the key, and timeline of its write-ahead log. On another one, after a restore or a failover that may have lost transactions, the key may have been handed out already; it never is again.';

COMMENT ON COLUMN matriarch.one_time_keys.claimed_at IS 'When it was handed out. NULL: not yet.';

COMMENT ON COLUMN matriarch.one_time_keys.key IS 'JSON as uploaded.';

CREATE TABLE matriarch.out_of_band_memberships (
    user_nid bigint NOT NULL,
    room_id text NOT NULL COLLATE pg_catalog."C",
    room_version text NOT NULL COLLATE pg_catalog."C",
    sender_nid bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    membership text NOT NULL COLLATE pg_catalog."C",
    event text COLLATE pg_catalog."C",
    state text[] NOT NULL COLLATE pg_catalog."C",
    forgotten boolean DEFAULT false NOT NULL,
    bytes integer DEFAULT 0 NOT NULL,
    CONSTRAINT out_of_band_memberships_membership_check CHECK ((membership = ANY (ARRAY['invite'::text, 'knock'::text, 'leave'::text])))
);

ALTER TABLE matriarch.out_of_band_memberships OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.out_of_band_memberships IS 'Invites, knocks and leaves of local users for rooms that this server has not joined: their member events are outside of any graph. A row is deleted when the room''s own state says what the user''s membership is.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.room_id IS 'The Matrix id of the room.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.room_version IS 'The room version, as the other server said.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.sender_nid IS 'The user who invited, knocked, or ended it.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.xid IS 'The transaction of the last change: tells whether a sync token saw it.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.membership IS 'invite, knock or leave.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.event IS 'The member event as a sync returns it, JSON text: stripped or, of a leave, whole. NULL: an old leave that no server could be told of.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.state IS 'What the other server told of the room: stripped state events, JSON texts.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.forgotten IS 'Whether the user forgot the room after leaving it.';

COMMENT ON COLUMN matriarch.out_of_band_memberships.bytes IS 'The bytes of state and event, which are bounded for each user.';

CREATE TABLE matriarch.outgoing_edus (
    destination_nid bigint NOT NULL,
    edu_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    edu_type text NOT NULL COLLATE pg_catalog."C",
    merge_key text COLLATE pg_catalog."C",
    content text NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500');

ALTER TABLE matriarch.outgoing_edus OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.outgoing_edus IS 'EDUs that a server is to be sent. A row is deleted when the server has answered the transaction with it.';

COMMENT ON COLUMN matriarch.outgoing_edus.destination_nid IS 'The server.';

COMMENT ON COLUMN matriarch.outgoing_edus.edu_id IS 'EDUs are sent in this order.';

COMMENT ON COLUMN matriarch.outgoing_edus.created_at IS 'When it was queued.';

COMMENT ON COLUMN matriarch.outgoing_edus.edu_type IS 'The EDU type.';

COMMENT ON COLUMN matriarch.outgoing_edus.merge_key IS 'What the EDU is about: a newer one of its type and key replaces it. NULL: it is sent whatever follows it.';

COMMENT ON COLUMN matriarch.outgoing_edus.content IS 'The content as JSON text.';

ALTER TABLE matriarch.outgoing_edus ALTER COLUMN edu_id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME matriarch.outgoing_edus_edu_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.partial_joins (
    join_event_id text NOT NULL COLLATE pg_catalog."C",
    room_id text NOT NULL COLLATE pg_catalog."C",
    room_nid bigint,
    join_nid bigint,
    server_name text NOT NULL COLLATE pg_catalog."C",
    servers text[] NOT NULL COLLATE pg_catalog."C",
    began_at timestamp with time zone DEFAULT now() NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    leased_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='100');

ALTER TABLE matriarch.partial_joins OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.partial_joins IS 'Joins whose answer left members out. Nodes load the rest while users of this server are joined; then everything that was decided meanwhile is decided again, and the row is deleted. The node deletes rows of joins that failed, or housekeeping after two hours.';

COMMENT ON COLUMN matriarch.partial_joins.join_event_id IS 'The Matrix id of the join event.';

COMMENT ON COLUMN matriarch.partial_joins.room_id IS 'The Matrix id of the room.';

COMMENT ON COLUMN matriarch.partial_joins.room_nid IS 'The room. NULL: the join was not stored yet.';

COMMENT ON COLUMN matriarch.partial_joins.join_nid IS 'The join event, whose state is the one that is loaded. NULL: it was not stored yet.';

COMMENT ON COLUMN matriarch.partial_joins.server_name IS 'The server that the join was made through: it is asked first.';

COMMENT ON COLUMN matriarch.partial_joins.servers IS 'The other servers in the room, as that server said. Each counts as one more member in destination_rooms while the room is partial.';

COMMENT ON COLUMN matriarch.partial_joins.began_at IS 'When the join was made.';

COMMENT ON COLUMN matriarch.partial_joins.next_try_at IS 'Nothing is loaded before.';

COMMENT ON COLUMN matriarch.partial_joins.leased_until IS 'A node loads until then, and renews this as it goes. NULL: none does.';

COMMENT ON COLUMN matriarch.partial_joins.attempts IS 'How often loading has failed.';

COMMENT ON COLUMN matriarch.partial_joins.last_error IS 'Why it last failed. NULL: it did not.';

CREATE TABLE matriarch.partial_states (
    event_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    lost boolean NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='1000');

ALTER TABLE matriarch.partial_states OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.partial_states IS 'Events of partial rooms: the state before them lacks members, and is computed again when the room becomes whole. Then the rows are deleted.';

COMMENT ON COLUMN matriarch.partial_states.event_nid IS 'The event.';

COMMENT ON COLUMN matriarch.partial_states.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.partial_states.lost IS 'Whether events before it cannot be obtained: other servers are asked for the state before it.';

CREATE UNLOGGED TABLE matriarch.presence (
    user_nid bigint NOT NULL,
    presence text DEFAULT 'offline'::text NOT NULL COLLATE pg_catalog."C",
    status_msg text,
    currently_active boolean DEFAULT false NOT NULL,
    last_active_at timestamp with time zone,
    is_remote boolean DEFAULT false NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    told_at timestamp with time zone DEFAULT now() NOT NULL,
    check_at timestamp with time zone,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT presence_presence_check CHECK ((presence = ANY (ARRAY['online'::text, 'unavailable'::text, 'offline'::text])))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500');

ALTER TABLE matriarch.presence OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.presence IS 'The presence of users. Unlogged: a crash of the database forgets it, and clients that sync restore it. Rows of several users are locked in the order of user_nid, before any row of presence_devices.';

COMMENT ON COLUMN matriarch.presence.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.presence.presence IS 'online, unavailable or offline: of a local user, what the user''s devices amount to together; of a remote user, what the user''s server says.';

COMMENT ON COLUMN matriarch.presence.status_msg IS 'The text that the user shows. NULL: none.';

COMMENT ON COLUMN matriarch.presence.currently_active IS 'Whether the user counts as active until this changes, whatever last_active_at says. True for local users while they are online.';

COMMENT ON COLUMN matriarch.presence.last_active_at IS 'When the user last did something; written every half minute at most. NULL: not known.';

COMMENT ON COLUMN matriarch.presence.is_remote IS 'Whether the user belongs to another server.';

COMMENT ON COLUMN matriarch.presence.changed_at IS 'When presence, status_msg or currently_active last changed.';

COMMENT ON COLUMN matriarch.presence.told_at IS 'When the other servers were last told of it, or were last to be told.';

COMMENT ON COLUMN matriarch.presence.check_at IS 'When to check whether the user is idle or gone. It may be too early, for activity does not move it. NULL for users who are offline.';

COMMENT ON COLUMN matriarch.presence.xid IS 'Transaction of the last change that other users are told of.';

CREATE UNLOGGED TABLE matriarch.presence_devices (
    device_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    asked text COLLATE pg_catalog."C",
    presence text NOT NULL COLLATE pg_catalog."C",
    until timestamp with time zone NOT NULL,
    CONSTRAINT presence_devices_asked_check CHECK ((asked = ANY (ARRAY['online'::text, 'unavailable'::text]))),
    CONSTRAINT presence_devices_presence_check CHECK ((presence = ANY (ARRAY['online'::text, 'unavailable'::text])))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500');

ALTER TABLE matriarch.presence_devices OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.presence_devices IS 'Devices of users who are not offline. The user''s row of presence is locked before a row is written. Unlogged, as presence is.';

COMMENT ON COLUMN matriarch.presence_devices.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.presence_devices.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.presence_devices.asked IS 'set_presence of the device''s syncs. NULL: it did not sync.';

COMMENT ON COLUMN matriarch.presence_devices.presence IS 'online or unavailable: as asked, unless the client has said otherwise since, or the user was active.';

COMMENT ON COLUMN matriarch.presence_devices.until IS 'When the device counts as gone, unless it syncs again.';

CREATE TABLE matriarch.profiles (
    user_nid bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL,
    CONSTRAINT profiles_key_check CHECK ((octet_length(key) <= 255))
);

ALTER TABLE matriarch.profiles OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.profiles IS 'Profile fields: displayname, avatar_url and others.';

COMMENT ON COLUMN matriarch.profiles.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.profiles.key IS 'Name of the field; 255 bytes at most.';

COMMENT ON COLUMN matriarch.profiles.value IS 'The field''s value as JSON text.';

CREATE TABLE matriarch.receipts (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    receipt_type text NOT NULL COLLATE pg_catalog."C",
    thread_id text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    event_nid bigint NOT NULL,
    pos bigint NOT NULL,
    ts bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT receipts_receipt_type_check CHECK ((receipt_type = ANY (ARRAY['m.read'::text, 'm.read.private'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.receipts OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.receipts IS 'The newest receipt of each user, receipt type and thread in a room. A receipt only moves forward.';

COMMENT ON COLUMN matriarch.receipts.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.receipts.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.receipts.receipt_type IS 'm.read or m.read.private.';

COMMENT ON COLUMN matriarch.receipts.thread_id IS 'Event id of the thread''s root, or main. Empty: an unthreaded receipt.';

COMMENT ON COLUMN matriarch.receipts.event_nid IS 'The event that was read.';

COMMENT ON COLUMN matriarch.receipts.pos IS 'events.pos of the event: everything up to it has been read.';

COMMENT ON COLUMN matriarch.receipts.ts IS 'When it was read: milliseconds since 1970.';

COMMENT ON COLUMN matriarch.receipts.xid IS 'The transaction of the last change.';

CREATE TABLE matriarch.refresh_tokens (
    token_hash bytea NOT NULL,
    device_nid bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    replaced_by bytea,
    access_token_hash bytea NOT NULL,
    CONSTRAINT refresh_tokens_token_hash_check CHECK ((length(token_hash) = 32))
);

ALTER TABLE matriarch.refresh_tokens OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.refresh_tokens IS 'Refresh tokens. One stays good until the token that replaced it, or the access token given with that, is first used; then both rows of the old pair are deleted.';

COMMENT ON COLUMN matriarch.refresh_tokens.token_hash IS 'SHA-256 of the refresh token.';

COMMENT ON COLUMN matriarch.refresh_tokens.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.refresh_tokens.created_at IS 'When it was given out.';

COMMENT ON COLUMN matriarch.refresh_tokens.replaced_by IS 'SHA-256 of the refresh token that was given out for it. NULL: it was not used yet.';

COMMENT ON COLUMN matriarch.refresh_tokens.access_token_hash IS 'SHA-256 of the access token that was given out with it.';

CREATE TABLE matriarch.registration_nonces (
    nonce text NOT NULL COLLATE pg_catalog."C",
    expires_at timestamp with time zone NOT NULL
);

ALTER TABLE matriarch.registration_nonces OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.registration_nonces IS 'Nonces of registration by shared secret that were used. The nodes'' housekeeping deletes them after expires_at, when the nonce itself is no longer good.';

COMMENT ON COLUMN matriarch.registration_nonces.nonce IS 'The nonce.';

COMMENT ON COLUMN matriarch.registration_nonces.expires_at IS 'When the nonce ceases to be good.';

CREATE TABLE matriarch.registration_tokens (
    token text NOT NULL COLLATE pg_catalog."C",
    uses_allowed integer,
    uses integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT registration_tokens_token_check CHECK ((token ~ '^[A-Za-z0-9._~-]{1,64}$'::text)),
    CONSTRAINT registration_tokens_uses_allowed_check CHECK ((uses_allowed >= 0))
);

ALTER TABLE matriarch.registration_tokens OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.registration_tokens IS 'Tokens by which a user may register. Operators insert them.';

COMMENT ON COLUMN matriarch.registration_tokens.token IS 'The token, as the user types it.';

COMMENT ON COLUMN matriarch.registration_tokens.uses_allowed IS 'How many accounts may be made with it. NULL: any number.';

COMMENT ON COLUMN matriarch.registration_tokens.uses IS 'How many accounts were made with it.';

COMMENT ON COLUMN matriarch.registration_tokens.created_at IS 'When it was made.';

COMMENT ON COLUMN matriarch.registration_tokens.expires_at IS 'When it expires. NULL: never.';

CREATE TABLE matriarch.remote_device_lists (
    user_nid bigint NOT NULL,
    server_name text NOT NULL COLLATE pg_catalog."C",
    stream_id bigint,
    updates bigint DEFAULT 0 NOT NULL,
    stale_since timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    leased_until timestamp with time zone,
    last_error text,
    whole_xid xid8
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.remote_device_lists OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.remote_device_lists IS 'How far the device lists of remote users are known. A row is locked before the user''s device_keys and cross_signing_keys are written.';

COMMENT ON COLUMN matriarch.remote_device_lists.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.remote_device_lists.server_name IS 'The user''s server.';

COMMENT ON COLUMN matriarch.remote_device_lists.stream_id IS 'stream_id of the update, or of the whole list, that device_keys are up to. NULL: no whole list was stored yet.';

COMMENT ON COLUMN matriarch.remote_device_lists.updates IS 'Counts received updates: a whole list ends staleness only if none was received while it was fetched.';

COMMENT ON COLUMN matriarch.remote_device_lists.stale_since IS 'Since when an update is missing; a node then fetches the whole list. NULL: none is missing.';

COMMENT ON COLUMN matriarch.remote_device_lists.attempts IS 'How often fetching the list has failed in a row.';

COMMENT ON COLUMN matriarch.remote_device_lists.next_try_at IS 'The list is not fetched before.';

COMMENT ON COLUMN matriarch.remote_device_lists.leased_until IS 'A node fetches the list, until then at least. NULL: none does.';

COMMENT ON COLUMN matriarch.remote_device_lists.last_error IS 'Why fetching it last failed. NULL: it did not.';

COMMENT ON COLUMN matriarch.remote_device_lists.whole_xid IS 'The transaction that last stored the keys of all devices. While the user has shared a room with this server ever since, updates keep the list current. NULL: no whole list was stored, or its time is not known.';

CREATE TABLE matriarch.revoked_refresh_tokens (
    token_hash bytea NOT NULL,
    device_nid bigint NOT NULL,
    was_used boolean NOT NULL,
    revoked_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT revoked_refresh_tokens_token_hash_check CHECK ((length(token_hash) = 32))
);

ALTER TABLE matriarch.revoked_refresh_tokens OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.revoked_refresh_tokens IS 'Refresh tokens that were good once, for as long as their device''s session lasts, and at most a week: the nodes'' housekeeping deletes them.';

COMMENT ON COLUMN matriarch.revoked_refresh_tokens.token_hash IS 'SHA-256 of the refresh token.';

COMMENT ON COLUMN matriarch.revoked_refresh_tokens.device_nid IS 'The device.';

COMMENT ON COLUMN matriarch.revoked_refresh_tokens.was_used IS 'True: the pair that it was exchanged for was used. Whoever presents it now has a copy, so the session ends. False: it was revoked unused.';

COMMENT ON COLUMN matriarch.revoked_refresh_tokens.revoked_at IS 'When it was revoked.';

CREATE TABLE matriarch.room_aliases (
    room_alias text NOT NULL COLLATE pg_catalog."C",
    room_nid bigint NOT NULL,
    creator_nid bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE matriarch.room_aliases OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.room_aliases IS 'Aliases of this server. m.room.canonical_alias is something else: a state event.';

COMMENT ON COLUMN matriarch.room_aliases.room_alias IS 'The alias: #, localpart, colon, server name.';

COMMENT ON COLUMN matriarch.room_aliases.room_nid IS 'The room that it names.';

COMMENT ON COLUMN matriarch.room_aliases.creator_nid IS 'The user who made it.';

COMMENT ON COLUMN matriarch.room_aliases.created_at IS 'When it was made.';

CREATE TABLE matriarch.room_state_keys (
    room_nid bigint NOT NULL,
    key_idx integer NOT NULL,
    type text NOT NULL COLLATE pg_catalog."C",
    state_key text NOT NULL COLLATE pg_catalog."C",
    current_event_nid bigint
)
WITH (fillfactor='80');

ALTER TABLE matriarch.room_state_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.room_state_keys IS 'The state keys of a room, that is its pairs of type and state_key, numbered in the order of first use. It also holds the current state as flat rows.';

COMMENT ON COLUMN matriarch.room_state_keys.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.room_state_keys.key_idx IS 'Number of the state key in its room, from 0 without gaps.';

COMMENT ON COLUMN matriarch.room_state_keys.type IS 'The event type.';

COMMENT ON COLUMN matriarch.room_state_keys.state_key IS 'The state_key. It may be empty.';

COMMENT ON COLUMN matriarch.room_state_keys.current_event_nid IS 'The event that holds this state key in the current state. NULL: the current state has none.';

CREATE TABLE matriarch.rooms (
    room_nid bigint NOT NULL,
    room_id text NOT NULL COLLATE pg_catalog."C",
    room_version text NOT NULL COLLATE pg_catalog."C",
    current_root bigint DEFAULT 0 NOT NULL,
    forward_extremities bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    depth bigint DEFAULT 0 NOT NULL,
    next_key_idx integer DEFAULT 0 NOT NULL,
    first_pos bigint DEFAULT 0 NOT NULL,
    last_pos bigint DEFAULT 0 NOT NULL,
    notify_seq bigint DEFAULT 0 NOT NULL,
    state_rewrites bigint DEFAULT 0 NOT NULL,
    joined_members integer DEFAULT 0 NOT NULL,
    invited_members integer DEFAULT 0 NOT NULL,
    other_servers integer DEFAULT 0 NOT NULL,
    published boolean DEFAULT false NOT NULL,
    partial boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    whole_xid xid8
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='200');

ALTER TABLE matriarch.rooms OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.rooms IS 'Rooms that this server has events of. The row lock is the room''s lock.';

COMMENT ON COLUMN matriarch.rooms.room_nid IS 'Number of the room here.';

COMMENT ON COLUMN matriarch.rooms.room_id IS 'The Matrix id of the room.';

COMMENT ON COLUMN matriarch.rooms.room_version IS 'The room version, as the create event says.';

COMMENT ON COLUMN matriarch.rooms.current_root IS 'The current state, as a root of the trie in state_nodes. 0 is the empty state.';

COMMENT ON COLUMN matriarch.rooms.forward_extremities IS 'event_nids of the accepted events that no accepted event cites in prev_events yet.';

COMMENT ON COLUMN matriarch.rooms.depth IS 'Greatest depth of an event of the room. 0: there is none.';

COMMENT ON COLUMN matriarch.rooms.next_key_idx IS 'The key_idx that the next new state key gets.';

COMMENT ON COLUMN matriarch.rooms.first_pos IS 'Least events.pos. Backfilled events go below it.';

COMMENT ON COLUMN matriarch.rooms.last_pos IS 'Greatest events.pos. New events go above it.';

COMMENT ON COLUMN matriarch.rooms.notify_seq IS 'How many events of the main timeline notify by the default push rules; see events.notify_seq.';

COMMENT ON COLUMN matriarch.rooms.state_rewrites IS 'How often a redaction rewrote a state event of the room. While it stays, what a session remembers of the events under a root is true.';

COMMENT ON COLUMN matriarch.rooms.joined_members IS 'How many users are joined.';

COMMENT ON COLUMN matriarch.rooms.invited_members IS 'How many users are invited.';

COMMENT ON COLUMN matriarch.rooms.other_servers IS 'How many other servers have joined members: rows of destination_rooms without left_nid.';

COMMENT ON COLUMN matriarch.rooms.published IS 'Whether the public room directory lists the room.';

COMMENT ON COLUMN matriarch.rooms.partial IS 'Whether members are missing in the room''s states because the answer to a join left them out. The room has a row of partial_joins then.';

COMMENT ON COLUMN matriarch.rooms.created_at IS 'When this server first knew the room.';

COMMENT ON COLUMN matriarch.rooms.xid IS 'Transaction of the newest append: tells a sync that the room has news.';

COMMENT ON COLUMN matriarch.rooms.whole_xid IS 'The transaction by which a partial room became whole. Syncs that ask for all members return the room as new then. NULL: it never was partial, or still is.';

ALTER TABLE matriarch.rooms ALTER COLUMN room_nid ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.rooms_room_nid_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);

ALTER TABLE matriarch.schema_history OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.schema_history IS 'Migrations that were applied.';

COMMENT ON COLUMN matriarch.schema_history.version IS 'Number of the migration: of the file in sql/.';

COMMENT ON COLUMN matriarch.schema_history.name IS 'Name of the migration: of the file in sql/.';

COMMENT ON COLUMN matriarch.schema_history.applied_on IS 'When it was applied (RFC 3339).';

COMMENT ON COLUMN matriarch.schema_history.checksum IS 'Checksum of the file: a file that has landed never changes.';

CREATE TABLE matriarch.server (
    singleton boolean DEFAULT true NOT NULL,
    server_name text NOT NULL COLLATE pg_catalog."C",
    matrix_version text COLLATE pg_catalog."C",
    CONSTRAINT server_singleton_check CHECK (singleton)
);

ALTER TABLE matriarch.server OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.server IS 'One row: the server that this database belongs to.';

COMMENT ON COLUMN matriarch.server.singleton IS 'Always true, so that there is only one row.';

COMMENT ON COLUMN matriarch.server.server_name IS 'The part of user ids after the colon. It never changes.';

COMMENT ON COLUMN matriarch.server.matrix_version IS 'Version of the tables, and checksum of the files, that the schema matrix was made from. NULL: it was not made yet.';

CREATE TABLE matriarch.server_key_responses (
    server_name text NOT NULL COLLATE pg_catalog."C",
    valid_until_ts bigint NOT NULL,
    fetched_at timestamp with time zone DEFAULT now() NOT NULL,
    response text NOT NULL,
    CONSTRAINT server_key_responses_server_name_check CHECK ((octet_length(server_name) <= 255))
);

ALTER TABLE matriarch.server_key_responses OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.server_key_responses IS 'The newest answer of each server to GET /_matrix/key/v2/server, for servers that ask this one as a notary. Housekeeping deletes a row 30 days after it was fetched, unless this server ever sent something to that server: a notary goes on answering for servers that are gone.';

COMMENT ON COLUMN matriarch.server_key_responses.server_name IS 'The server; 255 bytes at most.';

COMMENT ON COLUMN matriarch.server_key_responses.valid_until_ts IS 'Until when the answer may be used, in milliseconds since 1970: its valid_until_ts, at most seven days after fetched_at.';

COMMENT ON COLUMN matriarch.server_key_responses.fetched_at IS 'When the answer was fetched.';

COMMENT ON COLUMN matriarch.server_key_responses.response IS 'JSON as the server signed it.';

CREATE TABLE matriarch.server_keys (
    server_name text NOT NULL COLLATE pg_catalog."C",
    key_id text NOT NULL COLLATE pg_catalog."C",
    public_key text NOT NULL COLLATE pg_catalog."C",
    valid_until_ts bigint NOT NULL,
    expired boolean DEFAULT false NOT NULL,
    fetched_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE matriarch.server_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.server_keys IS 'Signing keys that other servers published. They are kept for ever: old events need old keys.';

COMMENT ON COLUMN matriarch.server_keys.server_name IS 'The server.';

COMMENT ON COLUMN matriarch.server_keys.key_id IS 'Name of the key in signatures: ed25519:, and a version.';

COMMENT ON COLUMN matriarch.server_keys.public_key IS 'The ed25519 key in unpadded base64.';

COMMENT ON COLUMN matriarch.server_keys.valid_until_ts IS 'Until when the key may sign, in milliseconds since 1970: valid_until_ts of a key in use, at most seven days after fetched_at; expired_ts of an old one.';

COMMENT ON COLUMN matriarch.server_keys.expired IS 'Whether it was published among old_verify_keys. valid_until_ts does not grow then.';

COMMENT ON COLUMN matriarch.server_keys.fetched_at IS 'When the key was last fetched.';

CREATE TABLE matriarch.signing_keys (
    key_id text NOT NULL COLLATE pg_catalog."C",
    seed bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expired_at timestamp with time zone,
    CONSTRAINT signing_keys_seed_check CHECK ((length(seed) = 32))
);

ALTER TABLE matriarch.signing_keys OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.signing_keys IS 'ed25519 keys by which this server signs events and requests. Only functions that run as the owner read them.';

COMMENT ON COLUMN matriarch.signing_keys.key_id IS 'Name of the key in signatures: ed25519:, and a version.';

COMMENT ON COLUMN matriarch.signing_keys.seed IS 'The secret key: 32 bytes.';

COMMENT ON COLUMN matriarch.signing_keys.created_at IS 'When the key was made.';

COMMENT ON COLUMN matriarch.signing_keys.expired_at IS 'When the key was retired. NULL: the key is in use; the newest of these signs.';

CREATE UNLOGGED TABLE matriarch.state_download_events (
    download_id bigint NOT NULL,
    number bigint NOT NULL,
    json text NOT NULL
)
WITH (autovacuum_vacuum_threshold='1000', autovacuum_vacuum_scale_factor='0.02');

ALTER TABLE matriarch.state_download_events OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.state_download_events IS 'Events of answers that have not been through intake. They are staged here because events that others cite must be stored first, and may stand anywhere in the answer. Unlogged: a crash of the database ends the requests.';

COMMENT ON COLUMN matriarch.state_download_events.download_id IS 'A row of state_downloads. No foreign key: the check would cost each event a query.';

COMMENT ON COLUMN matriarch.state_download_events.number IS 'Number of the event in the answer, as the node counts.';

COMMENT ON COLUMN matriarch.state_download_events.json IS 'As received.';

CREATE TABLE matriarch.state_downloads (
    download_id bigint NOT NULL,
    room_id text NOT NULL COLLATE pg_catalog."C",
    began_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    events integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='20');

ALTER TABLE matriarch.state_downloads OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.state_downloads IS 'Answers with the state of a room that nodes are reading, or have read in the last two hours: of joins, and of states before events whose previous events are missing. The nodes'' housekeeping deletes a row, and then checks whether the room got a state.';

COMMENT ON COLUMN matriarch.state_downloads.download_id IS 'Number of the answer.';

COMMENT ON COLUMN matriarch.state_downloads.room_id IS 'The Matrix id of the room.';

COMMENT ON COLUMN matriarch.state_downloads.began_at IS 'When the answer began.';

COMMENT ON COLUMN matriarch.state_downloads.ended_at IS 'When its events had been through intake. NULL: it is being read, or the node died.';

COMMENT ON COLUMN matriarch.state_downloads.events IS 'How many events were staged so far.';

ALTER TABLE matriarch.state_downloads ALTER COLUMN download_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.state_downloads_download_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.state_nodes (
    node_id bigint NOT NULL,
    room_nid bigint NOT NULL,
    hash bytea NOT NULL,
    level smallint NOT NULL,
    kids bigint[] NOT NULL,
    CONSTRAINT state_nodes_hash_check CHECK ((length(hash) = 16))
);

ALTER TABLE matriarch.state_nodes OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.state_nodes IS 'Nodes of a persistent, content-addressed radix-32 trie from key_idx to event_nid. Rows are inserted and never changed. Rows that no events.state_before and no rooms.current_root reaches may be deleted.';

COMMENT ON COLUMN matriarch.state_nodes.node_id IS 'Number of the node. A root of a state is the node_id of its topmost node.';

COMMENT ON COLUMN matriarch.state_nodes.room_nid IS 'The room. Rooms share no nodes.';

COMMENT ON COLUMN matriarch.state_nodes.hash IS 'First 16 bytes of SHA-256 over level and kids: equal states of a room have equal roots.';

COMMENT ON COLUMN matriarch.state_nodes.level IS '0 for leaves, whose kids are event_nids; n for inner nodes, whose kids are node_ids of level n - 1.';

COMMENT ON COLUMN matriarch.state_nodes.kids IS 'Up to 32 children; NULLs at the end are left out. NULL where the state key has no event.';

ALTER TABLE matriarch.state_nodes ALTER COLUMN node_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.state_nodes_node_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.state_resolutions (
    room_nid bigint NOT NULL,
    roots bigint[] NOT NULL,
    root bigint NOT NULL
);

ALTER TABLE matriarch.state_resolutions OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.state_resolutions IS 'Results of state resolution, so that none is computed twice. Rows may be deleted at any time.';

COMMENT ON COLUMN matriarch.state_resolutions.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.state_resolutions.roots IS 'Roots of the states that were resolved, ascending, each once.';

COMMENT ON COLUMN matriarch.state_resolutions.root IS 'Root of the resolved state. 0 is the empty state.';

CREATE TABLE matriarch.to_device_messages (
    device_nid bigint NOT NULL,
    message_id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    message text NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500', autovacuum_vacuum_insert_scale_factor='0.2');

ALTER TABLE matriarch.to_device_messages OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.to_device_messages IS 'Send-to-device messages that devices have not acknowledged. A sync token acknowledges those that its snapshot sees, up to the message_id in it where the answer had no room for all; they are deleted after the answer.';

COMMENT ON COLUMN matriarch.to_device_messages.device_nid IS 'The device that receives the message.';

COMMENT ON COLUMN matriarch.to_device_messages.message_id IS 'Messages are delivered in this order.';

COMMENT ON COLUMN matriarch.to_device_messages.xid IS 'The transaction that stored it: tells whether a sync token saw it.';

COMMENT ON COLUMN matriarch.to_device_messages.message IS 'The event as JSON text, with sender, type and content.';

ALTER TABLE matriarch.to_device_messages ALTER COLUMN message_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.to_device_messages_message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE matriarch.to_device_transactions (
    device_nid bigint NOT NULL,
    txn_id text NOT NULL COLLATE pg_catalog."C",
    event_type text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE matriarch.to_device_transactions OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.to_device_transactions IS 'Requests to send to devices that were carried out, so that a repeated one does nothing. The nodes'' housekeeping deletes them after a week.';

COMMENT ON COLUMN matriarch.to_device_transactions.device_nid IS 'The device that sent the request.';

COMMENT ON COLUMN matriarch.to_device_transactions.txn_id IS 'Its transaction id.';

COMMENT ON COLUMN matriarch.to_device_transactions.event_type IS 'The event type in its path.';

COMMENT ON COLUMN matriarch.to_device_transactions.created_at IS 'When it was carried out.';

CREATE UNLOGGED TABLE matriarch.typing (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    typing boolean NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');

ALTER TABLE matriarch.typing OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.typing IS 'Users who are typing, or were in the last hour. Unlogged: a crash of the database forgets it.';

COMMENT ON COLUMN matriarch.typing.room_nid IS 'The room.';

COMMENT ON COLUMN matriarch.typing.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.typing.expires_at IS 'When it ends unless the client repeats it; where typing is false, when it ended.';

COMMENT ON COLUMN matriarch.typing.typing IS 'Whether the user is typing now. False rows stay for an hour, so that syncs see the change.';

COMMENT ON COLUMN matriarch.typing.xid IS 'Transaction that last turned typing on or off. Repeating it while it is on leaves this as it is.';

CREATE TABLE matriarch.uia_sessions (
    session_hash bytea NOT NULL,
    operation text NOT NULL COLLATE pg_catalog."C",
    user_nid bigint,
    request bytea NOT NULL,
    completed jsonb DEFAULT '{}'::jsonb NOT NULL,
    presented_terms jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    result jsonb,
    CONSTRAINT uia_sessions_session_hash_check CHECK ((length(session_hash) = 32))
);

ALTER TABLE matriarch.uia_sessions OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.uia_sessions IS 'Sessions of user-interactive authentication, so that any node can finish what another began, and repeat the answer. The nodes'' housekeeping deletes them after expires_at.';

COMMENT ON COLUMN matriarch.uia_sessions.session_hash IS 'SHA-256 of the session id, which the client alone has.';

COMMENT ON COLUMN matriarch.uia_sessions.operation IS 'Method and endpoint that the session is bound to.';

COMMENT ON COLUMN matriarch.uia_sessions.user_nid IS 'The user whose access token began it. NULL: registration.';

COMMENT ON COLUMN matriarch.uia_sessions.request IS 'The first request''s body without auth, encrypted by a key that is made from the session id: it may hold a new password.';

COMMENT ON COLUMN matriarch.uia_sessions.completed IS 'Completed stages: what each proved, by its type. A registration token is counted when the account is made.';

COMMENT ON COLUMN matriarch.uia_sessions.presented_terms IS 'The versions, by policy id, of the documents that the client was shown last. NULL: it was shown none.';

COMMENT ON COLUMN matriarch.uia_sessions.created_at IS 'When the session began.';

COMMENT ON COLUMN matriarch.uia_sessions.expires_at IS 'When it ends, finished or not.';

COMMENT ON COLUMN matriarch.uia_sessions.finished_at IS 'When a request completed the last stage, and so was carried out. NULL: none has. A session authorizes one request only.';

COMMENT ON COLUMN matriarch.uia_sessions.result IS 'The answer to that request if it succeeded; for registration without tokens. NULL: it failed, or is still being carried out.';

CREATE TABLE matriarch.unshown_profiles (
    user_nid bigint NOT NULL,
    after_nid bigint DEFAULT 0 NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

ALTER TABLE matriarch.unshown_profiles OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.unshown_profiles IS 'Users whose changed profile is still to be shown in some of their rooms. show_profiles does that, a few rooms in each transaction, and deletes the row in the end.';

COMMENT ON COLUMN matriarch.unshown_profiles.user_nid IS 'The user.';

COMMENT ON COLUMN matriarch.unshown_profiles.after_nid IS 'The room up to which, in the order of room_nid, the user''s member events show the profile.';

COMMENT ON COLUMN matriarch.unshown_profiles.xid IS 'The transaction of the last change of the profile.';

CREATE TABLE matriarch.users (
    user_nid bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    server_name text GENERATED ALWAYS AS (substr(user_id, (strpos(user_id, ':'::text) + 1))) STORED NOT NULL COLLATE pg_catalog."C"
);

ALTER TABLE matriarch.users OWNER TO matriarch_owner;

COMMENT ON TABLE matriarch.users IS 'Every Matrix user that any row refers to, of this server or another.';

COMMENT ON COLUMN matriarch.users.user_nid IS 'Number of the user here.';

COMMENT ON COLUMN matriarch.users.user_id IS 'The Matrix id: @, localpart, colon, server name.';

COMMENT ON COLUMN matriarch.users.server_name IS 'The server name in user_id: what follows the first colon.';

ALTER TABLE matriarch.users ALTER COLUMN user_nid ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME matriarch.users_user_nid_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY matriarch.events ALTER COLUMN event_nid SET DEFAULT nextval('matriarch.event_nids'::regclass);

ALTER TABLE ONLY matriarch.access_tokens
    ADD CONSTRAINT access_tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY matriarch.account_data
    ADD CONSTRAINT account_data_pkey PRIMARY KEY (user_nid, room_nid, type);

ALTER TABLE ONLY matriarch.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (user_nid);

ALTER TABLE ONLY matriarch.agreed_terms
    ADD CONSTRAINT agreed_terms_pkey PRIMARY KEY (user_nid, policy_id, version);

ALTER TABLE ONLY matriarch.cross_signing_keys
    ADD CONSTRAINT cross_signing_keys_pkey PRIMARY KEY (user_nid, usage);

ALTER TABLE ONLY matriarch.dehydrated_devices
    ADD CONSTRAINT dehydrated_devices_device_nid_key UNIQUE (device_nid);

ALTER TABLE ONLY matriarch.dehydrated_devices
    ADD CONSTRAINT dehydrated_devices_pkey PRIMARY KEY (user_nid);

ALTER TABLE ONLY matriarch.destination_rooms
    ADD CONSTRAINT destination_rooms_pkey PRIMARY KEY (destination_nid, room_nid);

ALTER TABLE ONLY matriarch.destinations
    ADD CONSTRAINT destinations_pkey PRIMARY KEY (destination_nid);

ALTER TABLE ONLY matriarch.destinations
    ADD CONSTRAINT destinations_server_name_key UNIQUE (server_name);

ALTER TABLE ONLY matriarch.device_keys
    ADD CONSTRAINT device_keys_device_nid_key UNIQUE (device_nid);

ALTER TABLE ONLY matriarch.device_keys
    ADD CONSTRAINT device_keys_pkey PRIMARY KEY (user_nid, device_id);

ALTER TABLE ONLY matriarch.device_list_changes
    ADD CONSTRAINT device_list_changes_pkey PRIMARY KEY (user_nid, stream_id);

ALTER TABLE ONLY matriarch.devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (device_nid);

ALTER TABLE ONLY matriarch.devices
    ADD CONSTRAINT devices_user_nid_device_id_key UNIQUE (user_nid, device_id);

ALTER TABLE ONLY matriarch.dropped_server_keys
    ADD CONSTRAINT dropped_server_keys_pkey PRIMARY KEY (server_name, key_id);

ALTER TABLE ONLY matriarch.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (room_nid, user_nid);

ALTER TABLE ONLY matriarch.event_auth_edges
    ADD CONSTRAINT event_auth_edges_pkey PRIMARY KEY (auth_nid, event_nid);

ALTER TABLE ONLY matriarch.events
    ADD CONSTRAINT events_event_id_key UNIQUE (event_id);

ALTER TABLE ONLY matriarch.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (event_nid);

ALTER TABLE ONLY matriarch.events_without_successor
    ADD CONSTRAINT events_without_successor_event_id_key UNIQUE (event_id);

ALTER TABLE ONLY matriarch.events_without_successor
    ADD CONSTRAINT events_without_successor_pkey PRIMARY KEY (event_nid);

ALTER TABLE ONLY matriarch.fallback_keys
    ADD CONSTRAINT fallback_keys_pkey PRIMARY KEY (device_nid, algorithm);

ALTER TABLE ONLY matriarch.filters
    ADD CONSTRAINT filters_pkey PRIMARY KEY (user_nid, filter_id);

ALTER TABLE ONLY matriarch.filters
    ADD CONSTRAINT filters_user_nid_content_hash_key UNIQUE (user_nid, content_hash);

ALTER TABLE ONLY matriarch.generations
    ADD CONSTRAINT generations_mark_key UNIQUE (mark);

ALTER TABLE ONLY matriarch.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (generation_nid);

ALTER TABLE ONLY matriarch.held_receipts
    ADD CONSTRAINT held_receipts_pkey PRIMARY KEY (room_nid, user_nid, thread_id);

ALTER TABLE ONLY matriarch.history_gaps
    ADD CONSTRAINT history_gaps_pkey PRIMARY KEY (room_nid, event_id);

ALTER TABLE ONLY matriarch.inbound_pdus
    ADD CONSTRAINT inbound_pdus_pkey PRIMARY KEY (room_nid, origin, inbound_id);

ALTER TABLE ONLY matriarch.inbound_pdus
    ADD CONSTRAINT inbound_pdus_room_nid_event_id_origin_key UNIQUE (room_nid, event_id, origin);

ALTER TABLE ONLY matriarch.inbound_queues
    ADD CONSTRAINT inbound_queues_pkey PRIMARY KEY (room_nid, origin);

ALTER TABLE ONLY matriarch.inbound_to_device
    ADD CONSTRAINT inbound_to_device_pkey PRIMARY KEY (origin, message_id);

ALTER TABLE ONLY matriarch.inbound_transactions
    ADD CONSTRAINT inbound_transactions_pkey PRIMARY KEY (origin, txn_id);

ALTER TABLE ONLY matriarch.joins_in_progress
    ADD CONSTRAINT joins_in_progress_pkey PRIMARY KEY (room_id);

ALTER TABLE ONLY matriarch.key_backup_keys
    ADD CONSTRAINT key_backup_keys_pkey PRIMARY KEY (user_nid, version, room_id, session_id);

ALTER TABLE ONLY matriarch.key_backup_versions
    ADD CONSTRAINT key_backup_versions_pkey PRIMARY KEY (user_nid, version);

ALTER TABLE ONLY matriarch.key_signatures
    ADD CONSTRAINT key_signatures_pkey PRIMARY KEY (user_nid, key_name, signer_nid, signer_key_id);

ALTER TABLE ONLY matriarch.local_annotations
    ADD CONSTRAINT local_annotations_pkey PRIMARY KEY (room_nid, sender_nid, annotation_hash);

ALTER TABLE ONLY matriarch.membership_changes
    ADD CONSTRAINT membership_changes_pkey PRIMARY KEY (room_nid, change_id);

ALTER TABLE ONLY matriarch.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (room_nid, user_nid);

ALTER TABLE ONLY matriarch.missing_prev_events
    ADD CONSTRAINT missing_prev_events_pkey PRIMARY KEY (room_nid, prev_event_id, event_nid);

ALTER TABLE ONLY matriarch.missing_redacted_events
    ADD CONSTRAINT missing_redacted_events_pkey PRIMARY KEY (room_nid, event_id, redaction_nid);

ALTER TABLE ONLY matriarch.one_time_keys
    ADD CONSTRAINT one_time_keys_pkey PRIMARY KEY (device_nid, algorithm, key_id);

ALTER TABLE ONLY matriarch.out_of_band_memberships
    ADD CONSTRAINT out_of_band_memberships_pkey PRIMARY KEY (user_nid, room_id);

ALTER TABLE ONLY matriarch.outgoing_edus
    ADD CONSTRAINT outgoing_edus_pkey PRIMARY KEY (destination_nid, edu_id);

ALTER TABLE ONLY matriarch.partial_joins
    ADD CONSTRAINT partial_joins_pkey PRIMARY KEY (join_event_id);

ALTER TABLE ONLY matriarch.partial_joins
    ADD CONSTRAINT partial_joins_room_nid_key UNIQUE (room_nid);

ALTER TABLE ONLY matriarch.partial_states
    ADD CONSTRAINT partial_states_pkey PRIMARY KEY (event_nid);

ALTER TABLE ONLY matriarch.presence_devices
    ADD CONSTRAINT presence_devices_pkey PRIMARY KEY (device_nid);

ALTER TABLE ONLY matriarch.presence
    ADD CONSTRAINT presence_pkey PRIMARY KEY (user_nid);

ALTER TABLE ONLY matriarch.profiles
    ADD CONSTRAINT profiles_pkey PRIMARY KEY (user_nid, key);

ALTER TABLE ONLY matriarch.receipts
    ADD CONSTRAINT receipts_pkey PRIMARY KEY (room_nid, user_nid, receipt_type, thread_id);

ALTER TABLE ONLY matriarch.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY matriarch.registration_nonces
    ADD CONSTRAINT registration_nonces_pkey PRIMARY KEY (nonce);

ALTER TABLE ONLY matriarch.registration_tokens
    ADD CONSTRAINT registration_tokens_pkey PRIMARY KEY (token);

ALTER TABLE ONLY matriarch.remote_device_lists
    ADD CONSTRAINT remote_device_lists_pkey PRIMARY KEY (user_nid);

ALTER TABLE ONLY matriarch.revoked_refresh_tokens
    ADD CONSTRAINT revoked_refresh_tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY matriarch.room_aliases
    ADD CONSTRAINT room_aliases_pkey PRIMARY KEY (room_alias);

ALTER TABLE ONLY matriarch.room_state_keys
    ADD CONSTRAINT room_state_keys_pkey PRIMARY KEY (room_nid, key_idx);

ALTER TABLE ONLY matriarch.room_state_keys
    ADD CONSTRAINT room_state_keys_room_nid_type_state_key_key UNIQUE (room_nid, type, state_key);

ALTER TABLE ONLY matriarch.rooms
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (room_nid);

ALTER TABLE ONLY matriarch.rooms
    ADD CONSTRAINT rooms_room_id_key UNIQUE (room_id);

ALTER TABLE ONLY matriarch.schema_history
    ADD CONSTRAINT schema_history_pkey PRIMARY KEY (version);

ALTER TABLE ONLY matriarch.server_key_responses
    ADD CONSTRAINT server_key_responses_pkey PRIMARY KEY (server_name);

ALTER TABLE ONLY matriarch.server_keys
    ADD CONSTRAINT server_keys_pkey PRIMARY KEY (server_name, key_id);

ALTER TABLE ONLY matriarch.server
    ADD CONSTRAINT server_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY matriarch.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY matriarch.state_download_events
    ADD CONSTRAINT state_download_events_pkey PRIMARY KEY (download_id, number);

ALTER TABLE ONLY matriarch.state_downloads
    ADD CONSTRAINT state_downloads_pkey PRIMARY KEY (download_id);

ALTER TABLE ONLY matriarch.state_nodes
    ADD CONSTRAINT state_nodes_pkey PRIMARY KEY (node_id);

ALTER TABLE ONLY matriarch.state_nodes
    ADD CONSTRAINT state_nodes_room_nid_hash_key UNIQUE (room_nid, hash);

ALTER TABLE ONLY matriarch.state_resolutions
    ADD CONSTRAINT state_resolutions_pkey PRIMARY KEY (room_nid, roots);

ALTER TABLE ONLY matriarch.to_device_messages
    ADD CONSTRAINT to_device_messages_pkey PRIMARY KEY (device_nid, message_id);

ALTER TABLE ONLY matriarch.to_device_transactions
    ADD CONSTRAINT to_device_transactions_pkey PRIMARY KEY (device_nid, txn_id, event_type);

ALTER TABLE ONLY matriarch.typing
    ADD CONSTRAINT typing_pkey PRIMARY KEY (room_nid, user_nid);

ALTER TABLE ONLY matriarch.uia_sessions
    ADD CONSTRAINT uia_sessions_pkey PRIMARY KEY (session_hash);

ALTER TABLE ONLY matriarch.unshown_profiles
    ADD CONSTRAINT unshown_profiles_pkey PRIMARY KEY (user_nid);

ALTER TABLE ONLY matriarch.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (user_nid);

ALTER TABLE ONLY matriarch.users
    ADD CONSTRAINT users_user_id_key UNIQUE (user_id);

CREATE INDEX access_tokens_device ON matriarch.access_tokens USING btree (device_nid);

COMMENT ON INDEX matriarch.access_tokens_device IS 'The tokens of a device.';

CREATE INDEX account_data_changes ON matriarch.account_data USING btree (user_nid, xid);

COMMENT ON INDEX matriarch.account_data_changes IS 'What changed since a sync token.';

CREATE INDEX destination_rooms_pending ON matriarch.destination_rooms USING btree (destination_nid, pending_since) WHERE (pending_since IS NOT NULL);

COMMENT ON INDEX matriarch.destination_rooms_pending IS 'The rooms that a server is to be sent events of.';

CREATE INDEX destination_rooms_room ON matriarch.destination_rooms USING btree (room_nid);

COMMENT ON INDEX matriarch.destination_rooms_room IS 'The servers in a room.';

CREATE INDEX destination_rooms_unmarked ON matriarch.destination_rooms USING btree (room_nid, destination_nid) WHERE ((pending_since IS NULL) AND (left_nid IS NULL));

COMMENT ON INDEX matriarch.destination_rooms_unmarked IS 'The servers in a room that are to be marked as pending.';

CREATE INDEX destinations_backed_off ON matriarch.destinations USING btree (retry_at) WHERE (retry_at IS NOT NULL);

COMMENT ON INDEX matriarch.destinations_backed_off IS 'Servers that are left alone for a while.';

CREATE INDEX device_list_changes_age ON matriarch.device_list_changes USING btree (created_at);

COMMENT ON INDEX matriarch.device_list_changes_age IS 'For housekeeping.';

CREATE INDEX device_list_changes_xid ON matriarch.device_list_changes USING btree (xid);

COMMENT ON INDEX matriarch.device_list_changes_xid IS 'What changed since a sync token.';

CREATE INDEX erasures_user ON matriarch.erasures USING btree (user_nid);

COMMENT ON INDEX matriarch.erasures_user IS 'The rooms of an erased user.';

CREATE INDEX events_by_time ON matriarch.events USING btree (room_nid, origin_server_ts, pos) WHERE (pos IS NOT NULL);

COMMENT ON INDEX matriarch.events_by_time IS 'The event closest to a time.';

CREATE INDEX events_mentions ON matriarch.events USING btree (room_nid, pos) WHERE (mentions IS NOT NULL);

COMMENT ON INDEX matriarch.events_mentions IS 'Unread highlights.';

CREATE INDEX events_not_accepted ON matriarch.events USING btree (room_nid, event_nid) WHERE ((status)::smallint = ANY (ARRAY[1, 2]));

COMMENT ON INDEX matriarch.events_not_accepted IS 'Soft-failed and rejected events of a room, newest last.';

CREATE INDEX events_notified ON matriarch.events USING btree (room_nid, pos) WHERE notified;

COMMENT ON INDEX matriarch.events_notified IS 'Unread events that were redacted.';

CREATE INDEX events_outgoing ON matriarch.events USING btree (room_nid, event_nid) WHERE outgoing;

COMMENT ON INDEX matriarch.events_outgoing IS 'The events of a room that are sent to other servers.';

CREATE INDEX events_outliers ON matriarch.events USING btree (room_nid, event_nid) WHERE ((pos IS NULL) AND ((status)::smallint = ANY (ARRAY[0, 3])));

COMMENT ON INDEX matriarch.events_outliers IS 'Outliers. With events_timeline and events_not_accepted, all events of a room.';

CREATE INDEX events_received ON matriarch.events USING brin (received_at) WITH (autosummarize='on');

COMMENT ON INDEX matriarch.events_received IS 'For analysts: the events that were received at a time.';

CREATE INDEX events_sender ON matriarch.events USING btree (sender_nid, room_nid, pos) WHERE ((pos IS NOT NULL) AND (thread_root_nid IS NULL));

COMMENT ON INDEX matriarch.events_sender IS 'A user''s own last event: everything up to it has been read.';

CREATE INDEX events_sent ON matriarch.events USING brin ((
CASE
    WHEN ((origin_server_ts >= '-210866803200000'::bigint) AND (origin_server_ts <= '9224318015999999'::bigint)) THEN to_timestamp((((origin_server_ts)::numeric / 1000.0))::double precision)
    ELSE NULL::timestamp with time zone
END) timestamptz_minmax_multi_ops) WITH (autosummarize='on');

COMMENT ON INDEX matriarch.events_sent IS 'For analysts: the events of a time, as their servers claim.';

CREATE INDEX events_thread ON matriarch.events USING btree (thread_root_nid, pos) WHERE (thread_root_nid IS NOT NULL);

COMMENT ON INDEX matriarch.events_thread IS 'The events of a thread.';

CREATE INDEX events_threaded ON matriarch.events USING btree (room_nid, pos) WHERE (thread_root_nid IS NOT NULL);

COMMENT ON INDEX matriarch.events_threaded IS 'Unread events in threads.';

CREATE INDEX events_timeline ON matriarch.events USING btree (room_nid, pos) WHERE (pos IS NOT NULL);

COMMENT ON INDEX matriarch.events_timeline IS 'The timeline of a room.';

CREATE INDEX events_txn ON matriarch.events USING btree (device_nid, txn_id) WHERE (txn_id IS NOT NULL);

COMMENT ON INDEX matriarch.events_txn IS 'The event that a device sent by a transaction id.';

CREATE INDEX events_without_successor_room ON matriarch.events_without_successor USING btree (room_nid);

COMMENT ON INDEX matriarch.events_without_successor_room IS 'For the deletion of a room.';

CREATE INDEX held_receipts_age ON matriarch.held_receipts USING btree (received_at);

COMMENT ON INDEX matriarch.held_receipts_age IS 'For housekeeping.';

CREATE INDEX history_gaps_tried ON matriarch.history_gaps USING btree (next_try_at);

COMMENT ON INDEX matriarch.history_gaps_tried IS 'For housekeeping.';

CREATE INDEX inbound_pdus_origin ON matriarch.inbound_pdus USING btree (origin);

COMMENT ON INDEX matriarch.inbound_pdus_origin IS 'How many events of a server are staged.';

CREATE INDEX inbound_queues_due ON matriarch.inbound_queues USING btree (next_try_at);

COMMENT ON INDEX matriarch.inbound_queues_due IS 'Queues that are to be worked off.';

CREATE INDEX inbound_queues_origin ON matriarch.inbound_queues USING btree (origin, leased_until);

COMMENT ON INDEX matriarch.inbound_queues_origin IS 'How many queues of a server are worked on.';

CREATE INDEX inbound_to_device_age ON matriarch.inbound_to_device USING btree (received_at);

COMMENT ON INDEX matriarch.inbound_to_device_age IS 'For housekeeping.';

CREATE INDEX inbound_transactions_age ON matriarch.inbound_transactions USING btree (received_at);

COMMENT ON INDEX matriarch.inbound_transactions_age IS 'For housekeeping.';

CREATE INDEX membership_changes_room ON matriarch.membership_changes USING btree (room_nid, xid);

COMMENT ON INDEX matriarch.membership_changes_room IS 'The changes of a room since a sync token.';

CREATE INDEX membership_changes_user ON matriarch.membership_changes USING btree (user_nid, xid);

COMMENT ON INDEX matriarch.membership_changes_user IS 'The changes of a user since a sync token.';

CREATE INDEX memberships_user ON matriarch.memberships USING btree (user_nid, membership);

COMMENT ON INDEX matriarch.memberships_user IS 'The rooms of a user, by membership.';

CREATE INDEX missing_prev_events_event ON matriarch.missing_prev_events USING btree (event_nid);

COMMENT ON INDEX matriarch.missing_prev_events_event IS 'Whether something is missing before an event.';

CREATE INDEX one_time_keys_claimed ON matriarch.one_time_keys USING btree (claimed_at) WHERE (claimed_at IS NOT NULL);

COMMENT ON INDEX matriarch.one_time_keys_claimed IS 'For housekeeping.';

CREATE INDEX one_time_keys_unclaimed ON matriarch.one_time_keys USING btree (device_nid, algorithm, upload_id) WHERE (claimed_at IS NULL);

COMMENT ON INDEX matriarch.one_time_keys_unclaimed IS 'The next key to hand out.';

CREATE UNIQUE INDEX outgoing_edus_merged ON matriarch.outgoing_edus USING btree (destination_nid, edu_type, merge_key) WHERE (merge_key IS NOT NULL);

COMMENT ON INDEX matriarch.outgoing_edus_merged IS 'The EDU that a newer one replaces.';

CREATE INDEX partial_states_room ON matriarch.partial_states USING btree (room_nid);

COMMENT ON INDEX matriarch.partial_states_room IS 'The events of a room whose states lack members.';

CREATE INDEX presence_changes ON matriarch.presence USING btree (xid);

COMMENT ON INDEX matriarch.presence_changes IS 'What changed since a sync token.';

CREATE INDEX presence_checks ON matriarch.presence USING btree (check_at) WHERE (check_at IS NOT NULL);

COMMENT ON INDEX matriarch.presence_checks IS 'Users who are to be checked.';

CREATE INDEX presence_devices_user ON matriarch.presence_devices USING btree (user_nid);

COMMENT ON INDEX matriarch.presence_devices_user IS 'The devices of a user.';

CREATE INDEX presence_not_offline ON matriarch.presence USING btree (user_nid) WHERE (presence <> 'offline'::text);

COMMENT ON INDEX matriarch.presence_not_offline IS 'Users who are not offline.';

CREATE INDEX receipts_changes ON matriarch.receipts USING btree (room_nid, xid);

COMMENT ON INDEX matriarch.receipts_changes IS 'What changed in a room since a sync token.';

CREATE INDEX refresh_tokens_device ON matriarch.refresh_tokens USING btree (device_nid);

COMMENT ON INDEX matriarch.refresh_tokens_device IS 'The refresh tokens of a device.';

CREATE INDEX registration_nonces_expiry ON matriarch.registration_nonces USING btree (expires_at);

COMMENT ON INDEX matriarch.registration_nonces_expiry IS 'For housekeeping.';

CREATE INDEX remote_device_lists_stale ON matriarch.remote_device_lists USING btree (server_name, next_try_at) WHERE (stale_since IS NOT NULL);

COMMENT ON INDEX matriarch.remote_device_lists_stale IS 'Lists that are to be fetched.';

CREATE INDEX revoked_refresh_tokens_age ON matriarch.revoked_refresh_tokens USING btree (revoked_at);

COMMENT ON INDEX matriarch.revoked_refresh_tokens_age IS 'For housekeeping.';

CREATE INDEX revoked_refresh_tokens_device ON matriarch.revoked_refresh_tokens USING btree (device_nid);

COMMENT ON INDEX matriarch.revoked_refresh_tokens_device IS 'The revoked tokens of a device.';

CREATE INDEX room_aliases_creator ON matriarch.room_aliases USING btree (creator_nid);

COMMENT ON INDEX matriarch.room_aliases_creator IS 'The aliases that a user made, which are bounded.';

CREATE INDEX room_aliases_room ON matriarch.room_aliases USING btree (room_nid);

COMMENT ON INDEX matriarch.room_aliases_room IS 'The aliases of a room.';

CREATE INDEX room_state_keys_member_server ON matriarch.room_state_keys USING btree (room_nid, substr(state_key, (strpos(state_key, ':'::text) + 1))) WHERE (type = 'm.room.member'::text);

COMMENT ON INDEX matriarch.room_state_keys_member_server IS 'The members that a server has, or had, in a room.';

CREATE INDEX rooms_published ON matriarch.rooms USING btree (room_nid) WHERE published;

COMMENT ON INDEX matriarch.rooms_published IS 'The public room directory.';

CREATE INDEX to_device_transactions_age ON matriarch.to_device_transactions USING btree (created_at);

COMMENT ON INDEX matriarch.to_device_transactions_age IS 'For housekeeping.';

CREATE INDEX typing_expiry ON matriarch.typing USING btree (expires_at) WHERE typing;

COMMENT ON INDEX matriarch.typing_expiry IS 'Typing that is to be ended.';

CREATE INDEX typing_stopped ON matriarch.typing USING btree (expires_at) WHERE (NOT typing);

COMMENT ON INDEX matriarch.typing_stopped IS 'Rows that are to be deleted.';

CREATE INDEX uia_sessions_expiry ON matriarch.uia_sessions USING btree (expires_at);

COMMENT ON INDEX matriarch.uia_sessions_expiry IS 'For housekeeping.';

CREATE TRIGGER device_deleted BEFORE DELETE ON matriarch.devices FOR EACH ROW EXECUTE FUNCTION matriarch.note_device_deletion();

CREATE TRIGGER device_inserted BEFORE INSERT ON matriarch.devices FOR EACH ROW EXECUTE FUNCTION matriarch.keep_key_names();

CREATE TRIGGER device_list_changed AFTER INSERT ON matriarch.device_list_changes FOR EACH ROW WHEN ((new.audience IS NULL)) EXECUTE FUNCTION matriarch.queue_device_list_change();

CREATE TRIGGER membership_deleted AFTER DELETE ON matriarch.memberships FOR EACH ROW WHEN ((old.membership = 'join'::text)) EXECUTE FUNCTION matriarch.note_membership_change();

CREATE TRIGGER membership_inserted AFTER INSERT ON matriarch.memberships FOR EACH ROW WHEN ((new.membership = 'join'::text)) EXECUTE FUNCTION matriarch.note_membership_change();

CREATE TRIGGER membership_updated AFTER UPDATE ON matriarch.memberships FOR EACH ROW WHEN (((old.membership = 'join'::text) <> (new.membership = 'join'::text))) EXECUTE FUNCTION matriarch.note_membership_change();

CREATE TRIGGER room_deleted BEFORE DELETE ON matriarch.rooms FOR EACH ROW EXECUTE FUNCTION matriarch.delete_events_of_room();

ALTER TABLE ONLY matriarch.access_tokens
    ADD CONSTRAINT access_tokens_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.access_tokens
    ADD CONSTRAINT access_tokens_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.account_data
    ADD CONSTRAINT account_data_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.accounts
    ADD CONSTRAINT accounts_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.agreed_terms
    ADD CONSTRAINT agreed_terms_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.cross_signing_keys
    ADD CONSTRAINT cross_signing_keys_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.dehydrated_devices
    ADD CONSTRAINT dehydrated_devices_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.dehydrated_devices
    ADD CONSTRAINT dehydrated_devices_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.destination_rooms
    ADD CONSTRAINT destination_rooms_destination_nid_fkey FOREIGN KEY (destination_nid) REFERENCES matriarch.destinations(destination_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.destination_rooms
    ADD CONSTRAINT destination_rooms_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.device_keys
    ADD CONSTRAINT device_keys_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.device_keys
    ADD CONSTRAINT device_keys_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.device_list_changes
    ADD CONSTRAINT device_list_changes_audience_fkey FOREIGN KEY (audience) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.device_list_changes
    ADD CONSTRAINT device_list_changes_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.devices
    ADD CONSTRAINT devices_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.erasures
    ADD CONSTRAINT erasures_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.erasures
    ADD CONSTRAINT erasures_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.events_without_successor
    ADD CONSTRAINT events_without_successor_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.fallback_keys
    ADD CONSTRAINT fallback_keys_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.filters
    ADD CONSTRAINT filters_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.inbound_pdus
    ADD CONSTRAINT inbound_pdus_room_nid_origin_fkey FOREIGN KEY (room_nid, origin) REFERENCES matriarch.inbound_queues(room_nid, origin) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.key_backup_keys
    ADD CONSTRAINT key_backup_keys_user_nid_version_fkey FOREIGN KEY (user_nid, version) REFERENCES matriarch.key_backup_versions(user_nid, version) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.key_backup_versions
    ADD CONSTRAINT key_backup_versions_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.key_signatures
    ADD CONSTRAINT key_signatures_signer_nid_fkey FOREIGN KEY (signer_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.key_signatures
    ADD CONSTRAINT key_signatures_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.local_annotations
    ADD CONSTRAINT local_annotations_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.local_annotations
    ADD CONSTRAINT local_annotations_sender_nid_fkey FOREIGN KEY (sender_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.membership_changes
    ADD CONSTRAINT membership_changes_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.membership_changes
    ADD CONSTRAINT membership_changes_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.memberships
    ADD CONSTRAINT memberships_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.memberships
    ADD CONSTRAINT memberships_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.missing_prev_events
    ADD CONSTRAINT missing_prev_events_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.missing_redacted_events
    ADD CONSTRAINT missing_redacted_events_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.one_time_keys
    ADD CONSTRAINT one_time_keys_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.out_of_band_memberships
    ADD CONSTRAINT out_of_band_memberships_sender_nid_fkey FOREIGN KEY (sender_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.out_of_band_memberships
    ADD CONSTRAINT out_of_band_memberships_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.outgoing_edus
    ADD CONSTRAINT outgoing_edus_destination_nid_fkey FOREIGN KEY (destination_nid) REFERENCES matriarch.destinations(destination_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.partial_joins
    ADD CONSTRAINT partial_joins_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.partial_states
    ADD CONSTRAINT partial_states_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.profiles
    ADD CONSTRAINT profiles_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.receipts
    ADD CONSTRAINT receipts_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.receipts
    ADD CONSTRAINT receipts_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.refresh_tokens
    ADD CONSTRAINT refresh_tokens_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.remote_device_lists
    ADD CONSTRAINT remote_device_lists_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.revoked_refresh_tokens
    ADD CONSTRAINT revoked_refresh_tokens_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.room_aliases
    ADD CONSTRAINT room_aliases_creator_nid_fkey FOREIGN KEY (creator_nid) REFERENCES matriarch.users(user_nid);

ALTER TABLE ONLY matriarch.room_aliases
    ADD CONSTRAINT room_aliases_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.room_state_keys
    ADD CONSTRAINT room_state_keys_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.state_nodes
    ADD CONSTRAINT state_nodes_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.state_resolutions
    ADD CONSTRAINT state_resolutions_room_nid_fkey FOREIGN KEY (room_nid) REFERENCES matriarch.rooms(room_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.to_device_messages
    ADD CONSTRAINT to_device_messages_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.to_device_transactions
    ADD CONSTRAINT to_device_transactions_device_nid_fkey FOREIGN KEY (device_nid) REFERENCES matriarch.devices(device_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.uia_sessions
    ADD CONSTRAINT uia_sessions_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

ALTER TABLE ONLY matriarch.unshown_profiles
    ADD CONSTRAINT unshown_profiles_user_nid_fkey FOREIGN KEY (user_nid) REFERENCES matriarch.accounts(user_nid) ON DELETE CASCADE;

REVOKE ALL ON FUNCTION matriarch.delete_events_of_room() FROM PUBLIC;

REVOKE ALL ON FUNCTION matriarch.keep_key_names() FROM PUBLIC;

REVOKE ALL ON FUNCTION matriarch.note_device_deletion() FROM PUBLIC;

REVOKE ALL ON FUNCTION matriarch.note_membership_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION matriarch.queue_device_list_change() FROM PUBLIC;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.access_tokens TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.account_data TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.accounts TO matriarch_api;

GRANT SELECT,INSERT ON TABLE matriarch.agreed_terms TO matriarch_api;
GRANT SELECT ON TABLE matriarch.agreed_terms TO matriarch_admin;

GRANT SELECT(device_nid) ON TABLE matriarch.dehydrated_devices TO matriarch_api;

GRANT SELECT(server_name) ON TABLE matriarch.destinations TO matriarch_api;

GRANT SELECT(retry_at) ON TABLE matriarch.destinations TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.devices TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.dropped_server_keys TO matriarch_api;

GRANT SELECT,INSERT ON TABLE matriarch.erasures TO matriarch_api;

GRANT SELECT(event_nid) ON TABLE matriarch.events TO matriarch_api;

GRANT SELECT(room_nid) ON TABLE matriarch.events TO matriarch_api;

GRANT SELECT(xid) ON TABLE matriarch.events TO matriarch_api;

GRANT SELECT,DELETE ON TABLE matriarch.events_without_successor TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.filters TO matriarch_api;

GRANT SELECT ON TABLE matriarch.generations TO matriarch_admin;

GRANT SELECT,DELETE ON TABLE matriarch.held_receipts TO matriarch_api;

GRANT SELECT,DELETE ON TABLE matriarch.history_gaps TO matriarch_api;
GRANT SELECT,DELETE ON TABLE matriarch.history_gaps TO matriarch_admin;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.inbound_pdus TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.inbound_queues TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.inbound_to_device TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.inbound_transactions TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.joins_in_progress TO matriarch_api;

GRANT DELETE ON TABLE matriarch.key_backup_versions TO matriarch_api;

GRANT SELECT(user_nid) ON TABLE matriarch.key_backup_versions TO matriarch_api;

GRANT SELECT ON TABLE matriarch.memberships TO matriarch_api;

GRANT DELETE ON TABLE matriarch.one_time_keys TO matriarch_admin;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.partial_joins TO matriarch_api;

GRANT SELECT ON TABLE matriarch.partial_states TO matriarch_api;

GRANT SELECT,DELETE ON TABLE matriarch.presence TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.profiles TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.refresh_tokens TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.registration_nonces TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.registration_tokens TO matriarch_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.registration_tokens TO matriarch_admin;

GRANT SELECT,UPDATE ON TABLE matriarch.remote_device_lists TO matriarch_api;
GRANT SELECT ON TABLE matriarch.remote_device_lists TO matriarch_admin;

GRANT SELECT,INSERT,DELETE ON TABLE matriarch.revoked_refresh_tokens TO matriarch_api;

GRANT SELECT ON TABLE matriarch.room_aliases TO matriarch_api;

GRANT SELECT ON TABLE matriarch.rooms TO matriarch_api;
GRANT SELECT,DELETE ON TABLE matriarch.rooms TO matriarch_admin;

GRANT SELECT ON TABLE matriarch.schema_history TO matriarch_api;
GRANT SELECT ON TABLE matriarch.schema_history TO matriarch_admin;

GRANT SELECT ON TABLE matriarch.server TO matriarch_api;
GRANT SELECT ON TABLE matriarch.server TO matriarch_admin;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.server_key_responses TO matriarch_api;

GRANT SELECT ON TABLE matriarch.server_keys TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.state_download_events TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.state_downloads TO matriarch_api;

GRANT SELECT,DELETE ON TABLE matriarch.to_device_transactions TO matriarch_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE matriarch.uia_sessions TO matriarch_api;

GRANT SELECT,INSERT ON TABLE matriarch.users TO matriarch_api;
GRANT SELECT ON TABLE matriarch.users TO matriarch_admin;

GRANT UPDATE(user_id) ON TABLE matriarch.users TO matriarch_api;
