-- What API nodes may touch without a function: plain per-user rows, and nothing of rooms but reading.

grant select, insert, update, delete
    on accounts, devices, access_tokens, refresh_tokens, registration_tokens, registration_nonces, uia_sessions,
        profiles, account_data, filters
    to matriarch_api;
-- user_id: `insert … on conflict do update` needs it to give the row of a user that is there already.
grant select, insert, update (user_id) on users to matriarch_api;
grant select on server, rooms, memberships, room_aliases to matriarch_api;
-- Nodes look for new events once a second.
grant select (event_nid, room_nid, xid) on events to matriarch_api;
