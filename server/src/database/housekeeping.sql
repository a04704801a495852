-- Deletes expired rows, and the oldest of those that a user, or anybody, began too many of.
with numbered as (
    select session_hash, user_nid,
        row_number() over (partition by user_nid order by created_at desc) as number
    from matriarch.uia_sessions
),
uia_sessions as (
    delete from matriarch.uia_sessions s
    using numbered n
    where s.session_hash = n.session_hash
        and (s.expires_at < now() or n.number > case when n.user_nid is null then 20000 else 100 end)
),
to_device_transactions as (
    delete from matriarch.to_device_transactions where created_at < now() - interval '7 days'
),
inbound_transactions as (
    delete from matriarch.inbound_transactions where received_at < now() - interval '1 day'
),
inbound_to_device as (
    delete from matriarch.inbound_to_device where received_at < now() - interval '7 days'
),
joins_in_progress as (
    delete from matriarch.joins_in_progress where until < now() - interval '1 hour'
),
partial_joins as (
    delete from matriarch.partial_joins where room_nid is null and began_at < now() - interval '2 hours'
),
absent as (
    delete from matriarch.presence where presence = 'offline' and changed_at < now() - interval '7 days'
),
history_gaps as (
    delete from matriarch.history_gaps
    where next_try_at < now() - interval '7 days' and coalesce(leased_until < now(), true)
),
events_without_successor as (
    delete from matriarch.events_without_successor where created_at < now() - interval '30 days'
),
held_receipts as (
    delete from matriarch.held_receipts where received_at < now() - interval '1 hour'
),
server_key_responses as (
    delete from matriarch.server_key_responses r
    where r.fetched_at < now() - interval '30 days'
        and not exists (select from matriarch.destinations where server_name = r.server_name)
),
dropped_server_keys as (
    delete from matriarch.dropped_server_keys k
    where k.dropped_at < now() - interval '30 days'
        and not exists (select from matriarch.destinations where server_name = k.server_name)
),
revoked_refresh_tokens as (
    delete from matriarch.revoked_refresh_tokens where revoked_at < now() - interval '7 days'
)
delete from matriarch.registration_nonces where expires_at < now()
