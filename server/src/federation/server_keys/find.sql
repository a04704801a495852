-- A key that is valid for requests now, and whether more than half of the time that it is valid has passed
-- since it was fetched. $1 server name, $2 key id, $3 now, in milliseconds since 1970
select
    public_key,
    2 * $3::bigint > extract(epoch from fetched_at) * 1000 + valid_until_ts as past_half
from matriarch.server_keys
where server_name = $1 and key_id = $2 and not expired and valid_until_ts >= $3
