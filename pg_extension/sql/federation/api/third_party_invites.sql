create function third_party_invite(origin text, room_id text, invite text, append boolean)
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'third_party_invite_wrapper';
comment on function third_party_invite is
    'Makes the invite of a user who has proved to own a third-party id, and appends it, or returns it with '
    'the keys of the proof. origin is the user''s server; NULL if an identity server sent the request for a '
    'local user. The outcome is elsewhere if another server must make the invite.';
