-- Whether a registration token is valid now. $1 the token.
select exists (
    select
    from matriarch.registration_tokens
    where token = $1
        and (uses_allowed is null or uses < uses_allowed)
        and (expires_at is null or expires_at > now())
) as valid
