//! Serves the keys of local users and their devices to other servers. Server-Server API, "End-to-End
//! Encryption" and "Device Management".

use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    base::{
        request::Body,
        response::{MatrixError, Response, ResponseRows, respond},
        signing::Signer,
        spi::Mode,
    },
    client::end_to_end_encryption::keys::{claim, query},
};

/// `POST /_matrix/federation/v1/user/keys/claim`
///
/// Returns keys of local users only.
#[pg_extern(volatile)]
fn federation_claim_keys(body: &str) -> ResponseRows {
    respond(Mode::Write, |db| claim::claim(db, body, &Signer::current(db).server_name, false))
}

/// `POST /_matrix/federation/v1/user/keys/query`
///
/// Returns keys of local users only.
#[pg_extern(stable)]
fn federation_query_keys(body: &str) -> ResponseRows {
    respond(Mode::Read, |db| Ok(Response::json(&query::for_servers(db, &Body::parse(body)?)?)))
}

/// `stream_id` is that of the user's newest `m.device_list_update`. The next one cites it in `prev_id`.
const USER: &str = "
    select u.user_nid, coalesce((
            select max(stream_id)
            from device_list_changes
            where user_nid = u.user_nid and device_id is not null and audience is null
        ), 0) as stream_id
    from users u
    join accounts a using (user_nid)
    where u.user_id = $1 and a.deactivated_at is null";

/// `GET /_matrix/federation/v1/user/devices/{userId}`
///
/// 404 `M_NOT_FOUND` for users who are not local.
#[pg_extern(stable)]
fn federation_user_devices(user_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let row = db
            .query_opt(USER, &[user_id.into()])
            .ok_or_else(|| MatrixError::not_found("There is no such user."))?;
        let stream_id: i64 = row.get("stream_id");
        let mut found = query::all_of_user(db, user_id);
        let devices: Vec<Value> = found
            .device_keys
            .remove(user_id)
            .unwrap_or_default()
            .into_iter()
            .map(|(device_id, mut keys)| {
                let name = keys.as_object_mut().and_then(|keys| keys.remove("unsigned"));
                let mut device = json!({ "device_id": device_id, "keys": keys });
                if let Some(name) = name.as_ref().and_then(|unsigned| unsigned.get("device_display_name")) {
                    device["device_display_name"] = name.clone();
                }
                device
            })
            .collect();
        let mut answer = json!({ "user_id": user_id, "stream_id": stream_id, "devices": devices });
        for (name, key) in found.cross_signing_of(user_id) {
            answer[name] = key;
        }
        Ok(Response::json(&answer))
    })
}
