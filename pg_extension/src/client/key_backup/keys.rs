//! The room keys in a backup: of one session, of a room, or all.

use matriarch_rules::json_text::{Object, object_text};
use pgrx::pg_extern;

use super::{Version, number, unknown_version, upload::Keys};
use crate::base::{
    response::{MatrixError, Response, ResponseRows, Result, respond},
    session::Session,
    spi::{Db, Mode, Row, Rows},
};

/// Writes keys that are new or better than the stored ones: verified rather than not, then with an
/// earlier first message, then forwarded less often. The version's lock keeps other requests from writing
/// keys of this backup. Returns how many were new, and how many were written.
const WRITE: &str = "
    with given as (
        select *
        from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[]) as given
            (room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)
    ),
    known as (
        select
        from given g
        cross join lateral (
            select
            from key_backup_keys k
            where k.user_nid = $1 and k.version = $2
                and k.room_id = g.room_id and k.session_id = g.session_id
            offset 0
        ) k
    ),
    written as (
        insert into key_backup_keys as k
            (user_nid, version, room_id, session_id, first_message_index, forwarded_count, is_verified,
                session_data)
        select $1, $2, room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
        from given
        on conflict (user_nid, version, room_id, session_id) do update
        set first_message_index = excluded.first_message_index,
            forwarded_count = excluded.forwarded_count,
            is_verified = excluded.is_verified,
            session_data = excluded.session_data
        where excluded.is_verified > k.is_verified
            or (excluded.is_verified = k.is_verified
                and (excluded.first_message_index, excluded.forwarded_count)
                    < (k.first_message_index, k.forwarded_count))
        returning 1
    )
    select
        (select count(*) from given) - (select count(*) from known) as added,
        (select count(*) from written) as written";

const DELETE: &str = "
    delete from key_backup_keys
    where user_nid = $1 and version = $2
        and ($3::text is null or room_id = $3)
        and ($4::text is null or session_id = $4)";

const COUNT: &str = "
    update key_backup_versions
    set etag = $3, key_count = $4
    where user_nid = $1 and version = $2";

/// The most keys in all backups of a user. Clients of many years have some ten thousand.
const MAX_KEYS: i64 = 200_000;

const STORED: &str = "
    select coalesce(sum(key_count), 0)::bigint as keys from key_backup_versions where user_nid = $1";

impl Version {
    fn stored_by_user(&self, db: &Db<'_>) -> i64 {
        db.query_one(STORED, &[self.user_nid.into()]).get("keys")
    }

    /// The response with the number of keys. `etag` changes if any key was written or deleted.
    fn counted(mut self, db: &Db<'_>, changed: bool, added: i64) -> Response {
        if changed {
            self.etag += 1;
            self.key_count += added;
            let args = [self.user_nid.into(), self.number.into(), self.etag.into(), self.key_count.into()];
            db.execute(COUNT, &args);
        }
        Response::new(object_text(|body| {
            body.value("etag", self.etag.to_string()).value("count", self.key_count);
        }))
    }
}

/// `PUT /room_keys/keys/{roomId}/{sessionId}`; without `session_id`, `PUT /room_keys/keys/{roomId}`; without
/// both, `PUT /room_keys/keys`
///
/// 403 `M_WRONG_ROOM_KEYS_VERSION` unless `version` is the current one, 413 `M_TOO_LARGE` for more keys than
/// a user may have.
#[pg_extern(volatile)]
fn set_backup_keys(
    token_hash: &[u8],
    version: &str,
    room_id: Option<&str>,
    session_id: Option<&str>,
    content: &str,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let keys = Keys::parse(room_id, session_id, content)?;
        let version = Version::lock(db, &session, version)?;
        version.require_current(db)?;
        let row = db.query_one(
            WRITE,
            &[
                version.user_nid.into(),
                version.number.into(),
                keys.room_ids.into(),
                keys.session_ids.into(),
                keys.first_message_indexes.into(),
                keys.forwarded_counts.into(),
                keys.are_verified.into(),
                keys.session_data.into(),
            ],
        );
        let (added, written): (i64, i64) = (row.get("added"), row.get("written"));
        if added > 0 && added + version.stored_by_user(db) > MAX_KEYS {
            MatrixError::too_large("Your backups have too many keys.").abort();
        }
        Ok(version.counted(db, written > 0, added))
    })
}

/// `DELETE /room_keys/keys/{roomId}/{sessionId}`; without `session_id`, `DELETE /room_keys/keys/{roomId}`;
/// without both, `DELETE /room_keys/keys`
///
/// The version need not be the current one.
#[pg_extern(volatile)]
fn delete_backup_keys(
    token_hash: &[u8],
    version: &str,
    room_id: Option<&str>,
    session_id: Option<&str>,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let version = Version::lock(db, &session, version)?;
        let args = [version.user_nid.into(), version.number.into(), room_id.into(), session_id.into()];
        let deleted = i64::try_from(db.execute(DELETE, &args)).unwrap_or(i64::MAX);
        Ok(version.counted(db, deleted > 0, -deleted))
    })
}

const EXISTS: &str = "
    select from key_backup_versions where user_nid = $1 and version = $2 and not deleted";

/// The most bytes of keys that one answer has. Larger backups are read room by room.
const MAX_ANSWER: i64 = 128 << 20;

const SIZE: &str = "
    select coalesce(sum(octet_length(session_data)), 0)::bigint as bytes
    from key_backup_keys
    where user_nid = $1 and version = $2
        and ($3::text is null or room_id = $3)
        and ($4::text is null or session_id = $4)";

const READ: &str = "
    select room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
    from key_backup_keys
    where user_nid = $1 and version = $2
        and ($3::text is null or room_id = $3)
        and ($4::text is null or session_id = $4)
    order by room_id, session_id";

/// `GET /room_keys/keys/{roomId}/{sessionId}`; without `session_id`, `GET /room_keys/keys/{roomId}`; without
/// both, `GET /room_keys/keys`
#[pg_extern(stable)]
fn backup_keys(
    token_hash: &[u8],
    version: &str,
    room_id: Option<&str>,
    session_id: Option<&str>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let number = number(version)?;
        db.query_opt(EXISTS, &[session.user_nid.into(), number.into()]).ok_or_else(unknown_version)?;
        let args = [session.user_nid.into(), number.into(), room_id.into(), session_id.into()];
        if session_id.is_none() && db.query_one(SIZE, &args).get::<i64>("bytes") > MAX_ANSWER {
            return Err(MatrixError::too_large("The backup is too large to be read at once."));
        }
        let mut rows = db.query(READ, &args);
        let body = match (room_id, session_id) {
            (Some(_), Some(_)) => one(rows.next())?,
            (Some(_), None) => object_text(|body| {
                body.object("sessions", |sessions| rows.for_each(|row| write_key(sessions, &row)));
            }),
            (None, _) => object_text(|body| {
                body.object("rooms", |rooms| write_rooms(rooms, rows));
            }),
        };
        Ok(Response::new(body))
    })
}

fn one(row: Option<Row<'_>>) -> Result<String> {
    let row = row.ok_or_else(|| MatrixError::not_found("Key not found."))?;
    Ok(object_text(|key| write_data(key, &row)))
}

/// `rows` are in the order of their rooms.
fn write_rooms(rooms: &mut Object<'_>, rows: Rows<'_>) {
    let mut rows = rows.peekable();
    while let Some(first) = rows.next() {
        let room_id: String = first.get("room_id");
        rooms.object(&room_id, |room| {
            room.object("sessions", |sessions| {
                write_key(sessions, &first);
                while let Some(row) = rows.next_if(|row| row.get::<String>("room_id") == room_id) {
                    write_key(sessions, &row);
                }
            });
        });
    }
}

fn write_key(sessions: &mut Object<'_>, row: &Row<'_>) {
    sessions.object(&row.get::<String>("session_id"), |key| write_data(key, row));
}

fn write_data(key: &mut Object<'_>, row: &Row<'_>) {
    key.value("first_message_index", row.get::<i64>("first_message_index"))
        .value("forwarded_count", row.get::<i64>("forwarded_count"))
        .value("is_verified", row.get::<bool>("is_verified"))
        .raw("session_data", &row.get::<String>("session_data"));
}
