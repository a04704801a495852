//! Filters that clients upload, to refer to them by id in `/sync`. Client-Server API, "Filtering".

use matriarch_rules::filter::Filter;
use pgrx::pg_extern;
use sha2::{Digest, Sha256};

use crate::base::{
    response::{MatrixError, Response, ResponseRows, respond, single},
    session::Session,
    spi::Mode,
};

/// A statement of its own, as a conflicting row may be newer than the snapshot, and is then read by the next
/// statement.
const INSERT: &str = "
    insert into filters (user_nid, content_hash, content) values ($1, $2, $3)
    on conflict (user_nid, content_hash) do nothing";

const FIND: &str = "select filter_id from filters where user_nid = $1 and content_hash = $2";

/// The most filters of a user, and their most bytes. Clients upload a few; equal ones are stored once.
const MAX_FILTERS: i64 = 1000;
const MAX_BYTES: i64 = 4 << 20;

const STORED: &str = "
    select count(*) as filters, coalesce(sum(octet_length(content)), 0)::bigint as bytes
    from filters
    where user_nid = $1";

/// `POST /user/{userId}/filter`
///
/// `content` is in canonical form, so that equal filters have the same id. 400 `M_BAD_JSON` if it is no valid
/// filter, 413 `M_TOO_LARGE` if the user has too many.
#[pg_extern(volatile)]
fn create_filter(token_hash: &[u8], user_id: &str, content: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        Filter::parse(content)?;
        let hash = Sha256::digest(content.as_bytes()).to_vec();
        let found = || db.query_opt(FIND, &[session.user_nid.into(), hash.as_slice().into()]);
        let row = match found() {
            Some(row) => Some(row),
            None => {
                let stored = db.query_one(STORED, &[session.user_nid.into()]);
                if stored.get::<i64>("filters") >= MAX_FILTERS || stored.get::<i64>("bytes") >= MAX_BYTES {
                    return Err(MatrixError::too_large("You have too many filters."));
                }
                db.execute(INSERT, &[session.user_nid.into(), hash.as_slice().into(), content.into()]);
                found()
            }
        };
        let filter_id: i64 = row
            .ok_or_else(|| MatrixError::not_found("The account was deleted at this moment."))?
            .get("filter_id");
        Ok(single("filter_id", filter_id.to_string()))
    })
}

/// `GET /user/{userId}/filter/{filterId}`
#[pg_extern(stable)]
fn filter(token_hash: &[u8], user_id: &str, filter_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let content = filter_id.parse::<i64>().ok().and_then(|filter_id| {
            let sql = "select content from filters where user_nid = $1 and filter_id = $2";
            db.query_opt(sql, &[session.user_nid.into(), filter_id.into()])
        });
        let row = content.ok_or_else(|| MatrixError::not_found("There is no such filter."))?;
        Ok(Response::new(row.get("content")))
    })
}
