//! Signs requests with this server's key, and makes new keys. Server-Server API, "Request Authentication".

use matriarch_rules::{KeyPair, Map, json::parse_value, signature::sign_json};
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

/// Returns the `Authorization` header of a request to another server. `content` is the JSON body; NULL
/// without body.
#[pg_extern(stable)]
fn sign_request(method: &str, uri: &str, destination: &str, content: Option<&str>) -> String {
    connect(Mode::Read, |db| {
        let signer = Signer::current(db);
        let origin = &signer.server_name;
        let mut request = Map::new();
        for (key, value) in
            [("method", method), ("uri", uri), ("origin", origin.as_str()), ("destination", destination)]
        {
            request.insert(key.to_owned(), value.into());
        }
        if let Some(content) = content {
            let content = parse_value(content).unwrap_or_else(|error| not_canonical(&error));
            request.insert("content".to_owned(), content);
        }
        sign(&mut request, origin, &signer.key);
        let key_id = signer.key.key_id();
        let signature = request["signatures"][origin][key_id].as_str().unwrap_or_default();
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
