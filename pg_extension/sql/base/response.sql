create type response as (
    status      smallint,
    outcome     text,
    body        text,
    wake_rooms  bigint[],
    wake_users  bigint[]
);
comment on type response is
    'The response to a request: HTTP status, JSON body, and the rooms and users to wake after commit.';
comment on column response.status is 'HTTP status.';
comment on column response.outcome is
    'What the API node must do before, or besides, answering the client: elsewhere, partial, '
    'join_in_progress, needs_keys, needs_events, sign_first or sign_afterwards. NULL: status and body are '
    'the answer to the client.';
comment on column response.body is 'JSON body.';
comment on column response.wake_rooms is 'room_nids of the rooms to wake after commit. NULL: none.';
comment on column response.wake_users is 'user_nids of the users to wake after commit. NULL: none.';
