//! Devices. Client-Server API, "Device Management".

use matriarch_rules::json_text::{Object, object_text};
use pgrx::pg_extern;
use serde_json::Value;

use crate::base::{
    request::Body,
    response::{MatrixError, Response, ResponseRows, Result, respond},
    session::Session,
    spi::{Db, Mode, Row},
};

/// The longest name that a client can set, in characters. All users who share a room see it. A name set at
/// login may be longer, as a login must not fail because of it.
const MAX_NAME_CHARS: usize = 100;

const DEVICES: &str = "
    select device_id, display_name, last_seen_ip,
        floor(extract(epoch from last_seen_at) * 1000)::bigint as last_seen_ts
    from devices
    where user_nid = $1
    order by device_nid";

const DEVICE: &str = "
    select device_id, display_name, last_seen_ip,
        floor(extract(epoch from last_seen_at) * 1000)::bigint as last_seen_ts
    from devices
    where user_nid = $1 and device_id = $2";

/// Writes a row as the specification's `Device`. What is not known is null: some clients fail as a whole if
/// the key is missing.
fn write(device: &mut Object<'_>, row: &Row<'_>) {
    device.value("device_id", row.get::<String>("device_id"));
    device.value("display_name", row.opt::<String>("display_name"));
    device.value("last_seen_ip", row.opt::<String>("last_seen_ip"));
    device.value("last_seen_ts", row.opt::<i64>("last_seen_ts"));
}

/// `GET /devices`
#[pg_extern(stable)]
fn devices(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let devices = db
            .query(DEVICES, &[session.user_nid.into()])
            .map(|row| object_text(|device| write(device, &row)));
        Ok(Response::new(object_text(|body| {
            body.array("devices", devices);
        })))
    })
}

/// `GET /devices/{deviceId}`
#[pg_extern(stable)]
fn device(token_hash: &[u8], device_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let row = db.query_opt(DEVICE, &[session.user_nid.into(), device_id.into()]).ok_or_else(unknown)?;
        Ok(Response::new(object_text(|device| write(device, &row))))
    })
}

fn unknown() -> MatrixError {
    MatrixError::not_found("There is no such device.")
}

/// Returns the device, and whether its name changed.
const RENAME: &str = "
    with device as (
        select device_nid, display_name from devices where user_nid = $1 and device_id = $2 for no key update
    ),
    renamed as (
        update devices
        set display_name = $3
        from device
        where devices.device_nid = device.device_nid and device.display_name is distinct from $3
        returning devices.device_nid
    )
    select device_nid, exists (select from renamed) as renamed from device";

const FIND: &str = "select device_nid from devices where user_nid = $1 and device_id = $2";

const NOTE_CHANGE: &str = "
    insert into device_list_changes (user_nid, device_id)
    select $1, $2 where exists (select from device_keys where device_nid = $3)";

/// `PUT /devices/{deviceId}`
///
/// 400 `M_TOO_LARGE` for a name of more than 100 characters.
#[pg_extern(volatile)]
fn rename_device(token_hash: &[u8], device_id: &str, request: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let body = Body::parse(request)?;
        let (user, device) = (session.user_nid.into(), device_id.into());
        let Some(name) = body.string("display_name")? else {
            db.query_opt(FIND, &[user, device]).ok_or_else(unknown)?;
            return Ok(Response::empty());
        };
        if name.chars().count() > MAX_NAME_CHARS {
            let reason = format!("A device's name has at most {MAX_NAME_CHARS} characters.");
            return Err(MatrixError::new(400, "M_TOO_LARGE", reason));
        }
        if name.contains('\0') {
            return Err(MatrixError::invalid_param("A device's name cannot hold U+0000."));
        }
        let row = db.query_opt(RENAME, &[user, device, name.into()]).ok_or_else(unknown)?;
        let (device_nid, renamed): (i64, bool) = (row.get("device_nid"), row.get("renamed"));
        if !renamed {
            return Ok(Response::empty());
        }
        db.execute(NOTE_CHANGE, &[session.user_nid.into(), device_id.into(), device_nid.into()]);
        let wake_rooms = rooms_of(db, vec![device_nid]);
        Ok(Response { wake_rooms, ..Response::empty() }.wake_user(session.user_nid))
    })
}

/// In ascending order, as all transactions that lock several devices do.
const LOCK: &str = "
    select device_nid
    from devices
    where user_nid = $1 and device_id = any($2)
    order by device_nid
    for update";

/// `DELETE /devices/{deviceId}` and `POST /delete_devices`, after user-interactive authentication. Everything
/// that belongs to the devices is deleted with them. `request` is the body of the latter; unknown devices are
/// ignored.
#[pg_extern(volatile)]
fn delete_devices(token_hash: &[u8], request: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let device_ids = wanted(&Body::parse(request)?)?;
        let devices: Vec<i64> = db
            .query(LOCK, &[session.user_nid.into(), device_ids.into()])
            .map(|row| row.get("device_nid"))
            .collect();
        if devices.is_empty() {
            return Ok(Response::empty());
        }
        let wake_rooms = rooms_of(db, devices.clone());
        db.execute("delete from devices where device_nid = any($1)", &[devices.into()]);
        Ok(Response { wake_rooms, ..Response::empty() }.wake_user(session.user_nid))
    })
}

/// The ids in `devices`, without those that no device can have.
fn wanted(body: &Body) -> Result<Vec<String>> {
    let ids = body.array("devices")?.ok_or_else(|| MatrixError::missing_param("`devices` is missing."))?;
    let ids: Option<Vec<&str>> = ids.iter().map(Value::as_str).collect();
    let ids = ids.ok_or_else(|| MatrixError::bad_json("`devices` must be an array of strings."))?;
    Ok(ids.into_iter().filter(|id| !id.contains('\0')).map(str::to_owned).collect())
}

/// The rooms to wake when these devices change.
fn rooms_of(db: &Db<'_>, device_nids: Vec<i64>) -> Vec<i64> {
    db.query_one("select device_list_rooms($1) as room_nids", &[device_nids.into()])
        .opt("room_nids")
        .unwrap_or_default()
}
