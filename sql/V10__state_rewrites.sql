-- What sessions remember of a room's state.

alter table rooms add column state_rewrites bigint not null default 0;
comment on column rooms.state_rewrites is 'How often a state event of the room was rewritten, by a redaction. While it stays, what a session remembers of the events under a root of the state is true.';
