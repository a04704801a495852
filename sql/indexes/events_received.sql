create index concurrently events_received on matriarch.events using brin (received_at)
with (autosummarize = on)
