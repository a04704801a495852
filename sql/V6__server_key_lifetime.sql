-- Keys of other servers may be used for at most seven days after they were fetched.

comment on column server_keys.valid_until_ts is
    'Until when the key may sign, in milliseconds since 1970: valid_until_ts of a key in use, at most seven '
    'days after fetched_at; expired_ts of an old one.';
comment on column server_key_responses.valid_until_ts is
    'Until when the answer may be used, in milliseconds since 1970: its valid_until_ts, at most seven days '
    'after fetched_at.';

update server_keys
set valid_until_ts = (extract(epoch from fetched_at + interval '7 days') * 1000)::bigint
where valid_until_ts > (extract(epoch from fetched_at + interval '7 days') * 1000)::bigint;
update server_key_responses
set valid_until_ts = (extract(epoch from fetched_at + interval '7 days') * 1000)::bigint
where valid_until_ts > (extract(epoch from fetched_at + interval '7 days') * 1000)::bigint;
