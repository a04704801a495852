-- A key that is valid for requests now. $1 server name, $2 key id, $3 now, in milliseconds since 1970
select public_key
from matriarch.server_keys
where server_name = $1 and key_id = $2 and not expired and valid_until_ts >= $3
