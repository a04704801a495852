-- Annotations by local users, so that none is sent twice.

create table local_annotations (
    room_nid        bigint not null references rooms on delete cascade,
    sender_nid      bigint not null references users,
    annotation_hash bytea not null check (length(annotation_hash) = 32),
    event_nid       bigint not null,
    primary key (room_nid, sender_nid, annotation_hash)
);
comment on table local_annotations is
    'Annotations, such as reactions, by local users: a user sends each once. Rows last as long as the event, '
    'as does the rule; one whose event was redacted is replaced by the next of its kind.';
comment on column local_annotations.room_nid is 'The room, whose lock protects the row.';
comment on column local_annotations.sender_nid is 'The user.';
comment on column local_annotations.annotation_hash is
    'SHA-256 of the JSON array of the annotated event''s id, the annotation''s event type and its key.';
comment on column local_annotations.event_nid is 'The newest such annotation.';
