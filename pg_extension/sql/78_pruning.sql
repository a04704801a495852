-- What no other server will want any more.

create function prune_outgoing() returns bigint
language sql volatile parallel unsafe security definer set search_path = matriarch, pg_temp
as $$
    with pruned as (
        delete from outgoing_edus
        where created_at < now() - case
            when edu_type in ('m.typing', 'm.presence', 'm.receipt') then interval '1 day' else interval '30 days'
        end
        returning 1
    )
    select count(*) from pruned
$$;
comment on function prune_outgoing is 'Deletes EDUs that a server did not come to take: after a day what speaks of the moment, after 30 days messages to devices and changes of device lists. How many.';
