create function upload_cross_signing_keys(token_hash bytea, body text, authenticated boolean)
returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'upload_cross_signing_keys_wrapper';
comment on function upload_cross_signing_keys is
    'POST /keys/device_signing/upload. authenticated: the user has passed user-interactive authentication. '
    'Returns no row if the user must do so first.';

create function upload_signatures(token_hash bytea, body text) returns setof response
language c volatile strict parallel unsafe security definer set enable_bitmapscan = off
as 'MODULE_PATHNAME', 'upload_signatures_wrapper';
comment on function upload_signatures is 'POST /keys/signatures/upload';

create function delete_cross_signing_keys(owner bigint) returns void
language plpgsql volatile strict parallel unsafe security definer
as $$
begin
    perform from users where user_nid = owner for no key update;
    delete from key_signatures where user_nid = owner;
    delete from cross_signing_keys where user_nid = owner;
    if found then
        perform record_generation();
        insert into device_list_changes (user_nid) values (owner);
    end if;
end
$$;
comment on function delete_cross_signing_keys is
    'Deletes a user''s cross-signing keys, and all signatures of them and of the user''s devices, because '
    'the account is deactivated.';
