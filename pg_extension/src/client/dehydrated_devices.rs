//! Dehydrated devices, which receive messages while no client of the user is logged in. MSC3814.
//!
//! A user has at most one. It is a device with keys but without an access token: a client uploads it
//! encrypted, and the next client reads the messages that were sent to it. They stay until the device is
//! deleted or replaced, so that a client can start again if it did not finish reading them.

use matriarch_rules::{json_text::object_text, sync_token::SyncToken};
use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    base::{
        request::{self, Body},
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        spi::{Db, Mode},
        token::{self, sync_token},
    },
    client::end_to_end_encryption::{
        device_lists,
        keys::{Upload, store},
    },
};

const MAX_ID_BYTES: usize = 255;

/// As at login.
const MAX_NAME_BYTES: usize = 1024;

/// The greatest number of messages in a page.
const PAGE: usize = 500;

/// The body of `PUT /dehydrated_device` without the keys.
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

/// Makes the device, which replaces an earlier one. If the same device is uploaded again (the answer may have
/// been lost), it keeps its messages and keys, so that no one-time key is handed out twice.
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
            // No row: a login created a device with this id at the same moment.
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
/// 400 `M_INVALID_PARAM` if another device has the id; other errors as for `POST /keys/upload`.
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

/// Reads one message more than a page has, to know whether more remain.
const EVENTS: &str = "
    select message_id, message
    from to_device_messages
    where device_nid = $1
        and ($2::text is null or not pg_visible_in_snapshot(xid, $2::text::pg_snapshot) or message_id > $3)
    order by message_id
    limit 501";

/// A page of messages: the oldest that the token does not acknowledge.
struct Page {
    messages: Vec<String>,
    next_batch: String,
}

impl Page {
    /// `from` is the request's parameter `name`: a sync token that acknowledges the messages of the pages so
    /// far. So messages that are committed late are not missed. 403 `M_FORBIDDEN` if the device is not the
    /// user's dehydrated one.
    fn read(db: &Db<'_>, session: &Session, device_id: &str, name: &str, from: Option<&str>) -> Result<Self> {
        let device_nid: i64 = db
            .query_opt(FIND, &[session.user_nid.into()])
            .filter(|row| row.get::<String>("device_id") == device_id)
            .map(|row| row.get("device_nid"))
            .ok_or_else(|| MatrixError::forbidden("This is not your dehydrated device."))?;
        let now = token::now(db);
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
/// Deletes nothing. The last page is empty and has no `next_batch`.
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

/// `POST /dehydrated_device/{device_id}/events`, of an earlier version of the proposal: each page has a
/// `next_batch`.
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
