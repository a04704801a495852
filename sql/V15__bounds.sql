-- What bounds the work of one request, and what others may store for a user.

alter table out_of_band_memberships add column bytes integer not null default 0;
comment on column out_of_band_memberships.bytes is
    'The bytes of state and event, which are bounded for each user.';
update out_of_band_memberships
set bytes = least(octet_length(array_to_string(state, '')) + coalesce(octet_length(event), 0), 2147483647);

create index room_aliases_creator on room_aliases (creator_nid);
comment on index room_aliases_creator is 'The aliases that a user made, which are bounded.';

grant delete on server_key_responses to matriarch_api;
comment on table server_key_responses is
    'The newest answer of each server to GET /_matrix/key/v2/server, for servers that ask this one as a '
    'notary. Housekeeping deletes a row 30 days after it was fetched, unless this server ever sent something '
    'to that server: a notary goes on answering for servers that are gone.';

create table unshown_profiles (
    user_nid  bigint primary key references accounts on delete cascade,
    after_nid bigint not null default 0,
    xid       xid8 not null default pg_current_xact_id()
);
comment on table unshown_profiles is
    'Users whose changed profile is still to be shown in some of their rooms. show_profiles does that, a few '
    'rooms in each transaction, and deletes the row in the end.';
comment on column unshown_profiles.user_nid is 'The user.';
comment on column unshown_profiles.after_nid is
    'The room up to which, in the order of room_nid, the user''s member events show the profile.';
comment on column unshown_profiles.xid is 'The transaction of the last change of the profile.';
