//! Signs requests with this server's key, and makes new keys. Server-Server API, "Request Authentication".

use matriarch_rules::{
    KeyPair, Map,
    signature::{request_to_sign, sign_json},
};
use pgrx::{PgSqlErrorCode, ereport, pg_extern};

use crate::base::{connection::connect, initialize, signing::Signer, spi::Mode};

/// Ends the statement with an ERROR: the value has no canonical JSON, so it cannot be signed.
pub fn not_canonical(error: &dyn std::error::Error) -> ! {
    ereport!(ERROR, PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, format!("cannot be signed: {error}"));
}

/// Signs an object in place.
pub fn sign(object: &mut Map, server_name: &str, key: &KeyPair) {
    if let Err(error) = sign_json(object, server_name, key) {
        not_canonical(&error);
    }
}

/// Returns the `Authorization` header of a request to another server. `content` is the body, in canonical
/// JSON, whose numbers need not be canonical; NULL without body.
#[pg_extern(stable)]
fn sign_request(method: &str, uri: &str, destination: &str, content: Option<&str>) -> String {
    connect(Mode::Read, |db| {
        let signer = Signer::current(db);
        let origin = &signer.server_name;
        let request = request_to_sign(method, uri, origin, destination, content);
        let (key_id, signature) = (signer.key.key_id(), signer.key.sign(request.as_bytes()));
        format!(
            "X-Matrix origin=\"{origin}\",destination=\"{destination}\",key=\"{key_id}\",sig=\"{signature}\""
        )
    })
}

const RETIRE: &str = "update signing_keys set expired_at = now() where expired_at is null";

/// Makes a new signing key and expires the current ones. Returns the id of the new key.
#[pg_extern(volatile)]
fn rotate_signing_key() -> String {
    connect(Mode::Write, |db| {
        db.execute(RETIRE, &[]);
        initialize::add_key(db)
    })
}
