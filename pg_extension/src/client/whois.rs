//! `GET /admin/whois/{userId}`. Client-Server API, "Server Administration".

use matriarch_rules::json_text::object_text;
use pgrx::pg_extern;

use crate::base::{
    response::{MatrixError, Response, ResponseRows, respond},
    session::Session,
    spi::Mode,
};

const IS_ADMIN: &str = "select from accounts where user_nid = $1 and admin";

const ACCOUNT: &str = "select a.user_nid from accounts a join users u using (user_nid) where u.user_id = $1";

const DEVICES: &str = "
    select device_id, last_seen_ip, floor(extract(epoch from last_seen_at) * 1000)::bigint as last_seen_ts
    from devices
    where user_nid = $1
    order by device_nid";

/// `GET /admin/whois/{userId}`: a user's devices, each with the connection by which it was last seen. For the
/// user, and administrators of the server.
#[pg_extern(stable)]
fn whois(token_hash: &[u8], user_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let is_admin = || db.query_opt(IS_ADMIN, &[session.user_nid.into()]).is_some();
        if user_id != session.user_id && !is_admin() {
            return Err(MatrixError::forbidden("Only administrators may ask about other users."));
        }
        let account = db.query_opt(ACCOUNT, &[user_id.into()]);
        let user_nid: i64 =
            account.ok_or_else(|| MatrixError::not_found("This server has no such user."))?.get("user_nid");
        let devices = db.query(DEVICES, &[user_nid.into()]).map(|row| {
            let ip: Option<String> = row.opt("last_seen_ip");
            let last_seen: Option<i64> = row.opt("last_seen_ts");
            let seen = last_seen.map(|last_seen| {
                object_text(|connection| {
                    connection.value("ip", ip).value("last_seen", last_seen);
                })
            });
            let session = object_text(|session| {
                session.array("connections", seen);
            });
            (row.get::<String>("device_id"), session)
        });
        let devices: Vec<(String, String)> = devices.collect();
        Ok(Response::new(object_text(|body| {
            body.value("user_id", user_id);
            body.object("devices", |by_id| {
                for (device_id, session) in &devices {
                    by_id.object(device_id, |device| {
                        device.array("sessions", [session]);
                    });
                }
            });
        })))
    })
}
