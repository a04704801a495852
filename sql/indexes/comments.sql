comment on index matriarch.events_sent is 'For analysts: the events of a time, as their servers claim.';
comment on index matriarch.events_received is 'For analysts: the events that were received at a time.';
