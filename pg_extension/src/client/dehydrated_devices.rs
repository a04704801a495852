//! Dehydrated devices: what is sent to a user's devices while no client is logged in. MSC3814.
//!
//! A user has at most one. It is a device like others, with keys, but without a token: a client stores it encrypted, and the
//! next client reads what came for it. Its messages stay until it is deleted or another one takes its place, so that a
//! rehydration that breaks off can begin anew.

use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    base::{
        json_text::object_text,
        request::{self, Body},
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        spi::{Db, Mode},
        token::{SyncToken, sync_token},
    },
    client::end_to_end_encryption::{
        device_lists,
        keys::{Upload, store},
    },
};

const MAX_ID_BYTES: usize = 255;

/// As at login.
const MAX_NAME_BYTES: usize = 1024;

/// How many messages a page has at most.
const PAGE: usize = 500;

/// What a client stores, as far as it is not keys.
#[derive(Deserialize)]
struct Stored<'j> {
    device_id: String,
    #[serde(borrow)]
    device_data: &'j RawValue,
    initial_device_display_name: Option<String>,
}

impl<'j> Stored<'j> {
    fn parse(body: &'j str) -> Result<Self> {
        let stored: Self = request::typed(body)?;
        if stored.device_id.is_empty() || !fits(&stored.device_id, MAX_ID_BYTES) {
            return Err(MatrixError::invalid_param("This is not a valid device ID."));
        }
        if stored.initial_device_display_name.as_ref().is_some_and(|name| !fits(name, MAX_NAME_BYTES)) {
            return Err(MatrixError::invalid_param("This cannot be the name of a device."));
        }
        if !stored.device_data.get().starts_with('{') {
            return Err(MatrixError::bad_json("`device_data` must be an object."));
        }
        Ok(stored)
    }
}

fn fits(text: &str, max_bytes: usize) -> bool {
    text.len() <= max_bytes && !text.contains('\0')
}

const FIND: &str = "
    select device_nid, device_id, device_data
    from dehydrated_devices
    join devices using (device_nid)
    where dehydrated_devices.user_nid = $1";

const IS_TAKEN: &str = "
    select exists (select from cross_signing_keys where user_nid = $1 and public_key = $2)
        or exists (
            select
            from devices d
            where d.user_nid = $1 and d.device_id = $2
                and not exists (select from dehydrated_devices h where h.device_nid = d.device_nid)
        ) as is_taken";

const DELETE: &str = "delete from devices where device_nid = $1";

const INSERT: &str = "
    insert into devices (user_nid, device_id, display_name) values ($1, $2, $3)
    on conflict (user_nid, device_id) do nothing
    returning device_nid";

const STORE: &str = "
    insert into dehydrated_devices (user_nid, device_nid, device_data) values ($1, $2, $3)
    on conflict (user_nid) do update set device_data = excluded.device_data";

fn taken() -> MatrixError {
    MatrixError::invalid_param("Another device has this ID.")
}

/// Makes the device, in the place of an earlier one. The same device again, as when an answer was lost, stays with its
/// messages and keys: none of these is handed out twice.
fn replace(db: &Db<'_>, session: &Session, stored: &Stored<'_>) -> Result<Session> {
    let (user, device_id) = (session.user_nid, stored.device_id.as_str());
    session.lock_user(db);
    if db.query_one(IS_TAKEN, &[user.into(), device_id.into()]).get("is_taken") {
        return Err(taken());
    }
    let earlier =
        db.query_opt(FIND, &[user.into()]).map(|row| (row.get("device_nid"), row.get::<String>("device_id")));
    let device_nid: i64 = match earlier {
        Some((device_nid, id)) if id == device_id => device_nid,
        earlier => {
            if let Some((device_nid, _)) = earlier {
                db.execute(DELETE, &[device_nid.into()]);
            }
            let name = stored.initial_device_display_name.as_deref();
            // Somebody logged in on it at this moment.
            db.query_opt(INSERT, &[user.into(), device_id.into(), name.into()])
                .unwrap_or_else(|| taken().abort())
                .get("device_nid")
        }
    };
    db.execute(STORE, &[user.into(), device_nid.into(), stored.device_data.get().into()]);
    Ok(Session { device_nid, device_id: device_id.to_owned(), ..session.clone() })
}

/// `PUT /dehydrated_device`
///
/// 400 `M_INVALID_PARAM` for the id of another device; otherwise as `POST /keys/upload`.
#[pg_extern(volatile)]
fn set_dehydrated_device(token_hash: &[u8], body: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let stored = Stored::parse(body)?;
        let keys = Body::parse(body)?;
        if keys.object("device_keys")?.is_none() {
            return Err(MatrixError::missing_param("`device_keys` is missing."));
        }
        let upload = Upload::read(&keys, &session.user_id, &stored.device_id)?;
        let device = replace(db, &session, &stored)?;
        store(db, &device, &upload).unwrap_or_else(|refusal| refusal.abort());
        Ok(device_lists::wake(db, single("device_id", device.device_id), session.user_nid))
    })
}

fn none() -> MatrixError {
    MatrixError::not_found("There is no dehydrated device.")
}

/// `GET /dehydrated_device`
#[pg_extern(stable)]
fn dehydrated_device(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let row = db.query_opt(FIND, &[session.user_nid.into()]).ok_or_else(none)?;
        Ok(Response::new(object_text(|body| {
            body.value("device_id", row.get::<String>("device_id"))
                .raw("device_data", &row.get::<String>("device_data"));
        })))
    })
}

/// `DELETE /dehydrated_device`
#[pg_extern(volatile)]
fn delete_dehydrated_device(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.lock_user(db);
        let row = db.query_opt(FIND, &[session.user_nid.into()]).ok_or_else(none)?;
        db.execute(DELETE, &[row.get::<i64>("device_nid").into()]);
        Ok(device_lists::wake(db, single("device_id", row.get::<String>("device_id")), session.user_nid))
    })
}

/// One more than a page has tells that more remain.
const EVENTS: &str = "
    select message_id, message
    from to_device_messages
    where device_nid = $1
        and ($2::text is null or not pg_visible_in_snapshot(xid, $2::text::pg_snapshot) or message_id > $3)
    order by message_id
    limit 501";

/// A page of messages, the oldest of those after a place.
struct Page {
    messages: Vec<String>,
    next_batch: String,
}

impl Page {
    /// `from` is the request's parameter `name`. It is a place as a sync token is, which acknowledges what the pages so far
    /// had; so nothing that commits late is passed over. 403 `M_FORBIDDEN` for another device than the user's dehydrated one.
    fn read(db: &Db<'_>, session: &Session, device_id: &str, name: &str, from: Option<&str>) -> Result<Self> {
        let device_nid: i64 = db
            .query_opt(FIND, &[session.user_nid.into()])
            .filter(|row| row.get::<String>("device_id") == device_id)
            .map(|row| row.get("device_nid"))
            .ok_or_else(|| MatrixError::forbidden("This is not your dehydrated device."))?;
        let now = SyncToken::current(db);
        let from = from.map(|text| sync_token(db, name, text, &now)).transpose()?;
        let args = [
            device_nid.into(),
            from.as_ref().map(SyncToken::snapshot).into(),
            from.and_then(|from| from.message_id).into(),
        ];
        let mut rows: Vec<(i64, String)> =
            db.query(EVENTS, &args).map(|row| (row.get("message_id"), row.get("message"))).collect();
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let upto = rows.last().filter(|_| more).map(|(message_id, _)| *message_id);
        Ok(Self {
            messages: rows.into_iter().map(|(_, message)| message).collect(),
            next_batch: now.acknowledging(upto).to_string(),
        })
    }
}

/// `GET /dehydrated_device/{device_id}/events`
///
/// It deletes nothing. Pages go on until one is empty, which has no `next_batch`.
#[pg_extern(stable)]
fn dehydrated_device_events(token_hash: &[u8], device_id: &str, from: Option<&str>) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let Page { messages, next_batch } = Page::read(db, &session, device_id, "from", from)?;
        let next_batch = (!messages.is_empty()).then_some(next_batch);
        Ok(Response::new(object_text(|body| {
            body.array("events", messages);
            if let Some(next_batch) = next_batch {
                body.value("next_batch", next_batch);
            }
        })))
    })
}

/// `POST /dehydrated_device/{device_id}/events`, what the proposal had before `GET`: each page has a `next_batch`.
#[pg_extern(stable)]
fn post_dehydrated_device_events(token_hash: &[u8], device_id: &str, body: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let body = Body::parse(body)?;
        let from = body.string("next_batch")?;
        let Page { messages, next_batch } = Page::read(db, &session, device_id, "next_batch", from)?;
        Ok(Response::new(object_text(|body| {
            body.array("events", messages).value("next_batch", next_batch);
        })))
    })
}
