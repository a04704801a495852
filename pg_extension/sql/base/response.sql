create type response as (
    status      smallint,
    body        text,
    wake_rooms  bigint[],
    wake_users  bigint[]
);
comment on type response is
    'The answer to a request: HTTP status, JSON body, and the rooms and users whose waiting syncs have news '
    'after commit.';
comment on column response.status is 'HTTP status.';
comment on column response.body is 'JSON body.';
comment on column response.wake_rooms is 'room_nids whose waiting syncs have news after commit. NULL: none.';
comment on column response.wake_users is 'user_nids whose waiting syncs have news after commit. NULL: none.';
