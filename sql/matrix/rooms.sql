-- Rooms, events and members.

create or replace view matrix.rooms as
select
    r.room_id,
    r.room_version,
    matrix.json_or_null(c.json) -> 'content' ->> 'type' as room_type,
    cu.user_id as creator,
    matrix.json_or_null(n.json) -> 'content' ->> 'name' as name,
    matrix.json_or_null(t.json) -> 'content' ->> 'topic' as topic,
    matrix.json_or_null(a.json) -> 'content' ->> 'alias' as canonical_alias,
    matrix.json_or_null(j.json) -> 'content' ->> 'join_rule' as join_rule,
    coalesce(matrix.json_or_null(h.json) -> 'content' ->> 'history_visibility', 'shared')
        as history_visibility,
    r.joined_members,
    r.invited_members,
    r.published,
    r.created_at,
    r.depth,
    exists (
        select from matriarch.room_state_keys k
        where k.room_nid = r.room_nid and k.type = 'm.room.encryption' and k.state_key = ''
            and k.current_event_nid is not null
    ) as encrypted,
    (
        select matrix.json_or_null(e.json) -> 'content' ->> 'replacement_room'
        from matriarch.room_state_keys k
        join matriarch.events e on e.event_nid = k.current_event_nid
        where k.room_nid = r.room_nid and k.type = 'm.room.tombstone' and k.state_key = ''
    ) as replacement_room,
    r.other_servers
from matriarch.rooms r
left join matriarch.room_state_keys kc
    on kc.room_nid = r.room_nid and kc.type = 'm.room.create' and kc.state_key = ''
left join matriarch.events c on c.event_nid = kc.current_event_nid
left join matriarch.users cu on cu.user_nid = c.sender_nid
left join matriarch.room_state_keys kn
    on kn.room_nid = r.room_nid and kn.type = 'm.room.name' and kn.state_key = ''
left join matriarch.events n on n.event_nid = kn.current_event_nid
left join matriarch.room_state_keys kt
    on kt.room_nid = r.room_nid and kt.type = 'm.room.topic' and kt.state_key = ''
left join matriarch.events t on t.event_nid = kt.current_event_nid
left join matriarch.room_state_keys ka
    on ka.room_nid = r.room_nid and ka.type = 'm.room.canonical_alias' and ka.state_key = ''
left join matriarch.events a on a.event_nid = ka.current_event_nid
left join matriarch.room_state_keys kj
    on kj.room_nid = r.room_nid and kj.type = 'm.room.join_rules' and kj.state_key = ''
left join matriarch.events j on j.event_nid = kj.current_event_nid
left join matriarch.room_state_keys kh
    on kh.room_nid = r.room_nid and kh.type = 'm.room.history_visibility' and kh.state_key = ''
left join matriarch.events h on h.event_nid = kh.current_event_nid;
comment on view matrix.rooms is 'Every room, with what its current state says.';
comment on column matrix.rooms.room_id is 'The Matrix id of the room.';
comment on column matrix.rooms.room_version is 'The room version.';
comment on column matrix.rooms.room_type is
    'type in the create event, for example m.space. NULL: an ordinary room.';
comment on column matrix.rooms.creator is 'The sender of the create event.';
comment on column matrix.rooms.name is 'The name. NULL: the room has none.';
comment on column matrix.rooms.topic is 'The topic. NULL: the room has none.';
comment on column matrix.rooms.canonical_alias is 'The canonical alias. NULL: the room has none.';
comment on column matrix.rooms.join_rule is
    'join_rule, for example public or invite. NULL: the room has none.';
comment on column matrix.rooms.history_visibility is 'history_visibility; shared where the room has none.';
comment on column matrix.rooms.joined_members is 'How many users are joined.';
comment on column matrix.rooms.invited_members is 'How many users are invited.';
comment on column matrix.rooms.published is 'Whether the public room directory lists the room.';
comment on column matrix.rooms.created_at is 'When this server first knew the room.';
comment on column matrix.rooms.depth is 'Greatest depth of an event in it.';
comment on column matrix.rooms.encrypted is 'Whether messages are to be encrypted (m.room.encryption).';
comment on column matrix.rooms.replacement_room is
    'The room that replaced it (m.room.tombstone). NULL: none did.';
comment on column matrix.rooms.other_servers is 'How many other servers have joined members.';

create or replace view matrix.events as
select
    e.event_id,
    r.room_id,
    e.type,
    case
        when matrix.status_name(e.status) = 'rejected' then matrix.json_or_null(e.json) ->> 'state_key'
        else k.state_key
    end as state_key,
    u.user_id as sender,
    matrix.timestamp_or_null(e.origin_server_ts) as sent_at,
    e.depth,
    e.pos as position,
    matrix.status_name(e.status) as status,
    e.status_reason,
    x.event_id as redacted_by,
    matrix.json_or_null(e.json) -> 'content' as content,
    e.json,
    e.received_at,
    u.server_name as sender_server
from matriarch.events e
join matriarch.rooms r on r.room_nid = e.room_nid
join matriarch.users u on u.user_nid = e.sender_nid
left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
left join matriarch.events x on x.event_nid = e.redacted_by;
comment on view matrix.events is 'Every event, message or state, of every room.';
comment on column matrix.events.event_id is 'The Matrix id of the event.';
comment on column matrix.events.room_id is 'The Matrix id of the room.';
comment on column matrix.events.type is 'The event type.';
comment on column matrix.events.state_key is 'The state_key. NULL for message events.';
comment on column matrix.events.sender is 'The user who sent the event.';
comment on column matrix.events.sent_at is
    'What the sender''s server claims (origin_server_ts). NULL for times beyond any calendar.';
comment on column matrix.events.depth is 'The depth that the event claims.';
comment on column matrix.events.position is
    'Order in the room''s timeline: bigger is newer. NULL for events that clients never see.';
comment on column matrix.events.status is 'accepted, soft-failed, rejected or outlier.';
comment on column matrix.events.status_reason is
    'Why it was not accepted, in words. NULL for accepted events.';
comment on column matrix.events.redacted_by is
    'The redaction that was applied; content is then what redaction leaves. NULL: not redacted.';
comment on column matrix.events.content is
    'The content as jsonb. NULL where jsonb cannot hold it, for example U+0000 in a body. json has it as '
    'signed.';
comment on column matrix.events.json is 'The event as signed, byte for byte.';
comment on column matrix.events.received_at is
    'When this server stored the event. NULL: before it recorded that.';
comment on column matrix.events.sender_server is 'The server of the sender.';

create or replace view matrix.members as
select
    r.room_id,
    u.user_id,
    m.membership,
    m.display_name,
    m.avatar_url,
    s.user_id as sender,
    e.event_id,
    matrix.timestamp_or_null(e.origin_server_ts) as since
from matriarch.memberships m
join matriarch.rooms r on r.room_nid = m.room_nid
join matriarch.users u on u.user_nid = m.user_nid
join matriarch.users s on s.user_nid = m.sender_nid
join matriarch.events e on e.event_nid = m.event_nid;
comment on view matrix.members is
    'The current membership of every user in every room, also of users who left or were banned.';
comment on column matrix.members.room_id is 'The Matrix id of the room.';
comment on column matrix.members.user_id is 'The user.';
comment on column matrix.members.membership is 'join, invite, knock, leave or ban.';
comment on column matrix.members.display_name is 'The display name in the room. NULL: none.';
comment on column matrix.members.avatar_url is 'The avatar in the room. NULL: none.';
comment on column matrix.members.sender is 'The user who sent the membership event.';
comment on column matrix.members.event_id is 'The newest membership event.';
comment on column matrix.members.since is
    'Time of the newest membership event, which may only have changed the display name.';

create or replace view matrix.out_of_band_members as
select
    o.room_id,
    o.room_version,
    u.user_id,
    o.membership,
    s.user_id as sender,
    name.name
from matriarch.out_of_band_memberships o
join matriarch.users u on u.user_nid = o.user_nid
join matriarch.users s on s.user_nid = o.sender_nid
left join lateral (
    select shown.event -> 'content' ->> 'name' as name
    from unnest(o.state) as state (json)
    cross join lateral (select matrix.json_or_null(state.json) as event offset 0) shown
    where shown.event ->> 'type' = 'm.room.name' and shown.event ->> 'state_key' = ''
    limit 1
) name on true;
comment on view matrix.out_of_band_members is
    'Out-of-band memberships: invites, knocks and leaves of local users for rooms that this server has not '
    'joined.';
comment on column matrix.out_of_band_members.room_id is 'The Matrix id of the room.';
comment on column matrix.out_of_band_members.room_version is 'The room version, as the other server said.';
comment on column matrix.out_of_band_members.user_id is 'The user.';
comment on column matrix.out_of_band_members.membership is 'invite, knock or leave.';
comment on column matrix.out_of_band_members.sender is 'The user who invited, knocked, or ended it.';
comment on column matrix.out_of_band_members.name is
    'The name of the room, as the other server said. NULL: it has none.';

create or replace view matrix.presence as
select u.user_id, p.presence, p.status_msg, p.last_active_at, p.changed_at
from matriarch.presence p
join matriarch.users u on u.user_nid = p.user_nid;
comment on view matrix.presence is
    'The presence of users of this server, and of users of other servers in its rooms, as far as it is '
    'known.';
comment on column matrix.presence.user_id is 'The user.';
comment on column matrix.presence.presence is 'online, unavailable or offline.';
comment on column matrix.presence.status_msg is 'The text that the user shows. NULL: none.';
comment on column matrix.presence.last_active_at is
    'When the user last did something, to the half minute. NULL: not known.';
comment on column matrix.presence.changed_at is 'When presence or status_msg last changed.';

create or replace function matrix.current_state(room_id text)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel safe rows 100 security definer
as $$
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.rooms r
    join matriarch.room_state_keys k on k.room_nid = r.room_nid
    join matriarch.events e on e.event_nid = k.current_event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    where r.room_id = current_state.room_id
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.current_state is 'The current state of a room, an event a row.';

create or replace function matrix.state_at(event_id text)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel restricted rows 100 security definer
as $$
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.events at
    cross join lateral matriarch.state_entries(at.state_before) s
    join matriarch.room_state_keys k on k.room_nid = at.room_nid and k.key_idx = s.key_idx
    join matriarch.events e on e.event_nid = s.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    where at.event_id = state_at.event_id
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.state_at(text) is
    'The state before an event, which authorizes the event. No rows for the first event of a room, and where '
    'the state is unknown.';

create or replace function matrix.state_at(room_id text, at timestamptz)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel restricted rows 100 security definer
as $$
    with last as (
        select e.room_nid, e.event_nid, e.key_idx, e.state_before, e.room_root
        from matriarch.rooms r
        cross join lateral (
            select * from matriarch.events e
            where e.room_nid = r.room_nid and e.pos is not null
                and e.origin_server_ts <= floor(extract(epoch from state_at.at) * 1000)::bigint
            order by e.origin_server_ts desc, e.pos desc
            limit 1
        ) e
        where r.room_id = state_at.room_id
    ),
    -- The state after the event: what was resolved then, or else the state before it, and the event.
    after as (
        select l.room_nid, s.key_idx, s.event_nid
        from last l
        cross join lateral matriarch.state_entries(coalesce(l.room_root, l.state_before)) s
        where l.room_root is not null or s.key_idx is distinct from l.key_idx
        union all
        select room_nid, key_idx, event_nid from last where room_root is null and key_idx is not null
    )
    select k.type, k.state_key, e.event_id, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        matrix.json_or_null(e.json) -> 'content'
    from after a
    join matriarch.room_state_keys k on k.room_nid = a.room_nid and k.key_idx = a.key_idx
    join matriarch.events e on e.event_nid = a.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.state_at(text, timestamptz) is
    'The state of a room at a time: after the last event of its timeline that was sent until then, as '
    'servers claim.';

create or replace function matrix.timeline(
    room_id text, max_events integer default 50, before bigint default 9223372036854775807
)
returns table (
    event_id    text,
    type        text,
    state_key   text,
    sender      text,
    sent_at     timestamptz,
    received_at timestamptz,
    "position"  bigint,
    redacted_by text,
    content     jsonb
)
language sql stable strict parallel safe rows 50 security definer
as $$
    select e.event_id, e.type, k.state_key, u.user_id, matrix.timestamp_or_null(e.origin_server_ts),
        e.received_at, e.pos, x.event_id, matrix.json_or_null(e.json) -> 'content'
    from matriarch.rooms r
    cross join lateral (
        select * from matriarch.events e
        where e.room_nid = r.room_nid and e.pos is not null and e.pos < timeline.before
        order by e.pos desc
        limit greatest(max_events, 0)
    ) e
    join matriarch.users u on u.user_nid = e.sender_nid
    left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
    left join matriarch.events x on x.event_nid = e.redacted_by
    where r.room_id = timeline.room_id
    order by e.pos desc
$$;
comment on function matrix.timeline is
    'The newest events of a room''s timeline, newest first: of those before a position, if one is given.';
