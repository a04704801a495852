create index concurrently events_sent on matriarch.events using brin (
    -- As in matrix.timestamp_or_null. A few events of another time do not widen a range.
    (
        case
            when origin_server_ts between -210866803200000 and 9224318015999999
                then to_timestamp(origin_server_ts / 1000.0)
        end
    ) timestamptz_minmax_multi_ops
) with (autosummarize = on)
