-- A sync tells also of rooms that were left and then forgotten, and so reads the memberships of forgotten rooms.
drop index memberships_user;
create index memberships_user on memberships (user_nid, membership);

comment on column events.mentions is 'User ids of m.mentions that this server knows, ''@room'' for a permitted mention of all and for tombstones; absent when none.';
