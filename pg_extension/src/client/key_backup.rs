//! Key backups. Client-Server API, "Server-side key backups".
//!
//! Versions are numbered from 1 for each user. No number is used twice, as deleted versions keep their row.
//! The newest that is not deleted is the current one and accepts keys. Changes of a version or its keys lock
//! the version's row first, so that `etag` and `key_count` always match the stored keys.

mod keys;
mod upload;

use matriarch_rules::json_text::object_text;
use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::{
    request,
    response::{MatrixError, Response, ResponseRows, Result, respond, single},
    session::Session,
    spi::{Db, Mode},
};

const MAX_ALGORITHM_BYTES: usize = 255;
const MAX_AUTH_DATA_BYTES: usize = 65_536;

/// A version as a client describes it.
#[derive(Deserialize)]
struct Description<'j> {
    algorithm: String,
    #[serde(borrow)]
    auth_data: &'j RawValue,
    version: Option<String>,
}

impl<'j> Description<'j> {
    fn parse(content: &'j str) -> Result<Self> {
        let description: Self = request::typed(content)?;
        if description.algorithm.len() > MAX_ALGORITHM_BYTES || description.algorithm.contains('\0') {
            return Err(MatrixError::invalid_param("`algorithm` is not the name of an algorithm."));
        }
        require_object("auth_data", description.auth_data)?;
        if description.auth_data.get().len() > MAX_AUTH_DATA_BYTES {
            return Err(MatrixError::too_large("`auth_data` is longer than 65536 bytes."));
        }
        Ok(description)
    }
}

fn require_object(key: &str, value: &RawValue) -> Result<()> {
    if value.get().starts_with('{') {
        Ok(())
    } else {
        Err(MatrixError::bad_json(format!("`{key}` must be an object.")))
    }
}

fn unknown_version() -> MatrixError {
    MatrixError::not_found("Unknown backup version.")
}

/// The number in a version string; 404 `M_NOT_FOUND` if it cannot be one.
fn number(version: &str) -> Result<i64> {
    version
        .parse()
        .ok()
        .filter(|number: &i64| *number > 0 && number.to_string() == version)
        .ok_or_else(unknown_version)
}

/// A version that is not deleted, locked until this transaction ends.
struct Version {
    user_nid: i64,
    number: i64,
    algorithm: String,
    etag: i64,
    key_count: i64,
}

const LOCK: &str = "
    select deleted, algorithm, etag, key_count
    from key_backup_versions
    where user_nid = $1 and version = $2
    for no key update";

const CURRENT: &str =
    "select max(version) as version from key_backup_versions where user_nid = $1 and not deleted";

impl Version {
    /// Locks a version; `None` if it was deleted. 404 `M_NOT_FOUND` if it never existed.
    fn lock_any(db: &Db<'_>, session: &Session, version: &str) -> Result<Option<Self>> {
        let number = number(version)?;
        let user_nid = session.user_nid;
        let row = db.query_opt(LOCK, &[user_nid.into(), number.into()]).ok_or_else(unknown_version)?;
        let deleted: bool = row.get("deleted");
        Ok((!deleted).then(|| Self {
            user_nid,
            number,
            algorithm: row.get("algorithm"),
            etag: row.get("etag"),
            key_count: row.get("key_count"),
        }))
    }

    /// Locks a version. 404 `M_NOT_FOUND` if it was deleted or never existed.
    fn lock(db: &Db<'_>, session: &Session, version: &str) -> Result<Self> {
        Self::lock_any(db, session, version)?.ok_or_else(unknown_version)
    }

    /// 403 `M_WRONG_ROOM_KEYS_VERSION` unless it is the current one.
    fn require_current(&self, db: &Db<'_>) -> Result<()> {
        let current = db.query_one(CURRENT, &[self.user_nid.into()]).opt("version").unwrap_or(self.number);
        if current == self.number {
            return Ok(());
        }
        let error = "This is not the current backup version.";
        Err(MatrixError::new(403, "M_WRONG_ROOM_KEYS_VERSION", error)
            .with("current_version", current.to_string()))
    }
}

const CREATE: &str = "
    insert into key_backup_versions (user_nid, version, algorithm, auth_data)
    select $1, coalesce(max(version), 0) + 1, $2, $3
    from key_backup_versions
    where user_nid = $1
    returning version";

/// The most versions of a user. Deleted ones count too, as their rows stay.
const MAX_VERSIONS: i64 = 1000;

const COUNT: &str = "select count(*) as versions from key_backup_versions where user_nid = $1";

/// `POST /room_keys/version`
///
/// 413 `M_TOO_LARGE` if the user has too many.
#[pg_extern(volatile)]
fn create_key_backup(token_hash: &[u8], content: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let description = Description::parse(content)?;
        session.lock_user(db);
        if db.query_one(COUNT, &[session.user_nid.into()]).get::<i64>("versions") >= MAX_VERSIONS {
            return Err(MatrixError::too_large("You have too many backups."));
        }
        let args =
            [session.user_nid.into(), description.algorithm.into(), description.auth_data.get().into()];
        let number: i64 = db.query_one(CREATE, &args).get("version");
        Ok(single("version", number.to_string()))
    })
}

const READ: &str = "
    select version, algorithm, auth_data, etag, key_count
    from key_backup_versions
    where user_nid = $1 and version = $2 and not deleted";

const READ_CURRENT: &str = "
    select version, algorithm, auth_data, etag, key_count
    from key_backup_versions
    where user_nid = $1 and not deleted
    order by version desc
    limit 1";

/// `GET /room_keys/version/{version}`; without `version`, `GET /room_keys/version`
#[pg_extern(stable)]
fn key_backup(token_hash: &[u8], version: Option<&str>) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let row = match version {
            Some(version) => db
                .query_opt(READ, &[session.user_nid.into(), number(version)?.into()])
                .ok_or_else(unknown_version)?,
            None => db
                .query_opt(READ_CURRENT, &[session.user_nid.into()])
                .ok_or_else(|| MatrixError::not_found("No current backup version."))?,
        };
        Ok(Response::new(object_text(|body| {
            body.value("version", row.get::<i64>("version").to_string())
                .value("algorithm", row.get::<String>("algorithm"))
                .raw("auth_data", &row.get::<String>("auth_data"))
                .value("etag", row.get::<i64>("etag").to_string())
                .value("count", row.get::<i64>("key_count"));
        })))
    })
}

const UPDATE: &str = "
    update key_backup_versions
    set auth_data = $3
    where user_nid = $1 and version = $2";

/// `PUT /room_keys/version/{version}`
///
/// 400 `M_INVALID_PARAM` if the algorithm or version is not that of the backup.
#[pg_extern(volatile)]
fn update_key_backup(token_hash: &[u8], version: &str, content: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let description = Description::parse(content)?;
        if description.version.is_some_and(|given| given != version) {
            return Err(MatrixError::invalid_param("`version` differs from the version in the path."));
        }
        let version = Version::lock(db, &session, version)?;
        if version.algorithm != description.algorithm {
            return Err(MatrixError::invalid_param("`algorithm` differs from that of the backup."));
        }
        let auth_data = description.auth_data.get();
        db.execute(UPDATE, &[version.user_nid.into(), version.number.into(), auth_data.into()]);
        Ok(Response::empty())
    })
}

/// Deletes the content; the row stays, so that its number is not used again.
const DELETE: &str = "
    with keys as (
        delete from key_backup_keys where user_nid = $1 and version = $2
    )
    update key_backup_versions
    set deleted = true, key_count = 0, auth_data = '{}'
    where user_nid = $1 and version = $2";

/// `DELETE /room_keys/version/{version}`
///
/// Deleting a version again changes nothing.
#[pg_extern(volatile)]
fn delete_key_backup(token_hash: &[u8], version: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        if let Some(version) = Version::lock_any(db, &session, version)? {
            db.execute(DELETE, &[version.user_nid.into(), version.number.into()]);
        }
        Ok(Response::empty())
    })
}
