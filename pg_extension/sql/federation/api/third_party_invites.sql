create function third_party_invite(origin text, room_id text, invite text, append boolean)
returns setof response
language c volatile parallel unsafe security definer
as 'MODULE_PATHNAME', 'third_party_invite_wrapper';
comment on function third_party_invite is
    'Makes the invite of a user who proved to be the one with a third-party id, and appends it or gives it '
    'with the keys of the proof. origin is the server that asks, NULL where an identity server says it of a '
    'user of this one. The outcome is elsewhere where another server is to make it.';
