-- What readers see: redactions that clients do not get, what redactions take out of unread counts, users who
-- were erased, and forgotten rooms that this server never joined.

alter table events
    add column withheld boolean not null default false,
    add column notified boolean not null default false;
create index events_notified on events (room_nid, pos) where notified;
comment on column events.withheld is
    'Of redactions: whether clients do not get it, because its target is not stored yet, or may not be '
    'redacted by its sender. A redaction that has an effect later is shown from then on.';
comment on column events.notified is
    'Of redacted events: whether it notified in the main timeline before, so that notify_seq counts it. '
    'Unread counts subtract it.';
comment on index events_notified is 'Unread events that were redacted.';

-- Redactions that wait for their targets already.
update events
set withheld = true
where event_nid in (select redaction_nid from missing_redacted_events);

create table erasures (
    room_nid bigint not null references rooms on delete cascade,
    user_nid bigint not null references users,
    pos      bigint not null,
    primary key (room_nid, user_nid)
);
create index erasures_user on erasures (user_nid);
comment on table erasures is
    'Users who deactivated their accounts and asked to be erased, by the rooms that they were in. Users and '
    'servers that join later get redacted copies of their events. Rows are deleted with the room.';
comment on column erasures.room_nid is 'The room.';
comment on column erasures.user_nid is 'The user who was erased.';
comment on column erasures.pos is
    'The last position of the room then: users who were joined there still see the events.';
comment on index erasures_user is 'The rooms of an erased user.';
grant select, insert on erasures to matriarch_api;

-- Users who were erased before.
insert into erasures (room_nid, user_nid, pos)
select m.room_nid, m.user_nid, r.last_pos
from accounts a
join memberships m on m.user_nid = a.user_nid
join rooms r on r.room_nid = m.room_nid
where a.erased;

alter table out_of_band_memberships add column forgotten boolean not null default false;
comment on column out_of_band_memberships.forgotten is 'Whether the user forgot the room after leaving it.';
comment on column out_of_band_memberships.event is
    'The member event as a sync returns it, JSON text: stripped or, of a leave, whole. NULL: an old leave '
    'that no server could be told of.';
