-- Puts staged events through intake as outliers, in the order of their numbers in $4.
select status, outcome, body, wake_rooms, wake_users
from matriarch.receive_pdus(
    $1, $2, 'outlier',
    array(
        select e.json
        from unnest($4::bigint[]) with ordinality as wanted (number, index)
        cross join lateral (
            select json
            from matriarch.state_download_events
            where download_id = $3 and number = wanted.number
            offset 0
        ) e
        order by wanted.index
    ),
    null, $5
)
