-- Deletes what has expired.
with uia_sessions as (
    delete from matriarch.uia_sessions where expires_at < now()
)
delete from matriarch.registration_nonces where expires_at < now()
