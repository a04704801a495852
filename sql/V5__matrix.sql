-- The schema `matrix`: the documented, stable SQL interface. docs/sql.md describes it with examples.
-- Views and functions run with the owner's rights and show rooms only: no token, password hash, key or account data.

create schema matrix;
comment on schema matrix is 'Matrix rooms for analysts. Stable: columns are added, not changed.';
grant usage on schema matrix to matriarch_readonly, matriarch_api;

create function matrix.json_or_null(document text) returns jsonb
language plpgsql immutable strict parallel safe
as $$
begin
    return document::jsonb;
exception
    -- jsonb holds neither \u0000 nor numbers out of its range.
    when data_exception or program_limit_exceeded or statement_too_complex then return null;
end
$$;
comment on function matrix.json_or_null is 'JSON text as jsonb; NULL where jsonb cannot hold it (U+0000, for one).';

create view matrix.rooms as
select
    r.room_id,
    r.room_version,
    matrix.json_or_null(c.json) -> 'content' ->> 'type' as room_type,
    cu.user_id as creator,
    matrix.json_or_null(n.json) -> 'content' ->> 'name' as name,
    matrix.json_or_null(t.json) -> 'content' ->> 'topic' as topic,
    matrix.json_or_null(a.json) -> 'content' ->> 'alias' as canonical_alias,
    matrix.json_or_null(j.json) -> 'content' ->> 'join_rule' as join_rule,
    coalesce(matrix.json_or_null(h.json) -> 'content' ->> 'history_visibility', 'shared') as history_visibility,
    r.joined_members,
    r.invited_members,
    r.published,
    r.created_at,
    r.depth
from matriarch.rooms r
left join matriarch.room_state_keys kc on kc.room_nid = r.room_nid and kc.type = 'm.room.create' and kc.state_key = ''
left join matriarch.events c on c.event_nid = kc.current_event_nid
left join matriarch.users cu on cu.user_nid = c.sender_nid
left join matriarch.room_state_keys kn on kn.room_nid = r.room_nid and kn.type = 'm.room.name' and kn.state_key = ''
left join matriarch.events n on n.event_nid = kn.current_event_nid
left join matriarch.room_state_keys kt on kt.room_nid = r.room_nid and kt.type = 'm.room.topic' and kt.state_key = ''
left join matriarch.events t on t.event_nid = kt.current_event_nid
left join matriarch.room_state_keys ka on ka.room_nid = r.room_nid and ka.type = 'm.room.canonical_alias' and ka.state_key = ''
left join matriarch.events a on a.event_nid = ka.current_event_nid
left join matriarch.room_state_keys kj on kj.room_nid = r.room_nid and kj.type = 'm.room.join_rules' and kj.state_key = ''
left join matriarch.events j on j.event_nid = kj.current_event_nid
left join matriarch.room_state_keys kh on kh.room_nid = r.room_nid and kh.type = 'm.room.history_visibility' and kh.state_key = ''
left join matriarch.events h on h.event_nid = kh.current_event_nid;
comment on view matrix.rooms is 'Every room, with what its current state says of it.';
comment on column matrix.rooms.created_at is 'When this server first knew the room.';
comment on column matrix.rooms.depth is 'Greatest depth of an event in it.';

create view matrix.events as
select
    e.event_id,
    r.room_id,
    e.type,
    k.state_key,
    u.user_id as sender,
    to_timestamp(e.origin_server_ts / 1000.0) as sent_at,
    e.depth,
    e.pos as position,
    case e.status when 0 then 'accepted' when 1 then 'soft-failed' when 2 then 'rejected' else 'outlier' end as status,
    e.status_reason,
    x.event_id as redacted_by,
    matrix.json_or_null(e.json) -> 'content' as content,
    e.json
from matriarch.events e
join matriarch.rooms r on r.room_nid = e.room_nid
join matriarch.users u on u.user_nid = e.sender_nid
left join matriarch.room_state_keys k on k.room_nid = e.room_nid and k.key_idx = e.key_idx
left join matriarch.events x on x.event_nid = e.redacted_by;
comment on view matrix.events is 'Every event, message or state, of every room.';
comment on column matrix.events.state_key is 'Absent for message events.';
comment on column matrix.events.sent_at is 'What the sender''s server claims (origin_server_ts).';
comment on column matrix.events.position is 'Order in the room''s timeline; absent for events that clients never see.';
comment on column matrix.events.redacted_by is 'The redaction applied; content is then what redaction leaves.';
comment on column matrix.events.content is 'As jsonb; NULL where jsonb cannot hold it, for example U+0000 in a body. json has it as signed.';

create view matrix.members as
select
    r.room_id,
    u.user_id,
    m.membership,
    m.display_name,
    m.avatar_url,
    s.user_id as sender,
    e.event_id,
    to_timestamp(e.origin_server_ts / 1000.0) as since
from matriarch.memberships m
join matriarch.rooms r on r.room_nid = m.room_nid
join matriarch.users u on u.user_nid = m.user_nid
join matriarch.users s on s.user_nid = m.sender_nid
join matriarch.events e on e.event_nid = m.event_nid;
comment on view matrix.members is 'Current membership of every user in every room, also those who left or were banned.';
comment on column matrix.members.since is 'Time of the newest membership event, which may only have changed the display name.';

create function matrix.current_state(room_id text)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel safe rows 100 security definer set search_path = pg_catalog, pg_temp
as $$
    select k.type, k.state_key, e.event_id, u.user_id, to_timestamp(e.origin_server_ts / 1000.0),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.rooms r
    join matriarch.room_state_keys k on k.room_nid = r.room_nid
    join matriarch.events e on e.event_nid = k.current_event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    where r.room_id = current_state.room_id
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.current_state is 'The current state of a room, an event a row.';

create function matrix.state_at(event_id text)
returns table (type text, state_key text, event_id text, sender text, sent_at timestamptz, content jsonb)
language sql stable strict parallel restricted rows 100 security definer set search_path = pg_catalog, pg_temp
as $$
    select k.type, k.state_key, e.event_id, u.user_id, to_timestamp(e.origin_server_ts / 1000.0),
        matrix.json_or_null(e.json) -> 'content'
    from matriarch.events at
    cross join lateral matriarch.state_entries(at.state_before) s
    join matriarch.room_state_keys k on k.room_nid = at.room_nid and k.key_idx = s.key_idx
    join matriarch.events e on e.event_nid = s.event_nid
    join matriarch.users u on u.user_nid = e.sender_nid
    where at.event_id = state_at.event_id
    order by k.type collate "C", k.state_key collate "C"
$$;
comment on function matrix.state_at is 'The state before an event: what it was judged against. Without rows for the first event of a room, and where that state is not known.';

create function matrix.check_auth(event json, out allowed boolean, out rule text, out reason text, out auth_events text[])
language sql stable strict parallel restricted security definer set search_path = pg_catalog, pg_temp
as $$
    select c.allowed, c.rule, c.reason, c.auth_events from matriarch.check_auth(event::text) c
$$;
comment on function matrix.check_auth is 'Whether an event (room_id, sender, type, content, state_key) would be allowed in its room as it is now, by the authorization rules of the room''s version; the rule that rejects it, by its number there; and the events it was judged by.';

revoke all on all functions in schema matrix from public;
grant select on all tables in schema matrix to matriarch_readonly;
grant execute on all functions in schema matrix to matriarch_readonly;
