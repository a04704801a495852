//! Publishes this server's signing keys, and signs requests with them. Server-Server API, "Publishing Keys"
//! and "Request Authentication".

use matriarch_rules::{
    KeyPair, Map,
    json::{parse_object, parse_value},
    signature::sign_json,
};
use pgrx::{PgSqlErrorCode, ereport, pg_extern};
use serde_json::{Value, json};

use crate::base::{
    connection::connect,
    initialize,
    signing::Signer,
    spi::{Db, Mode},
};

/// How long other servers may use a published key before they ask again, in milliseconds: a day.
const VALIDITY: i64 = 86_400_000;

const KEYS: &str = "
    select key_id, seed, (extract(epoch from expired_at) * 1000)::bigint as expired_ts
    from signing_keys
    order by created_at, key_id";

const NOW: &str = "select (extract(epoch from now()) * 1000)::bigint as now";

const SERVER_NAME: &str = "select server_name from server";

fn server_name(db: &Db<'_>) -> String {
    db.query_one(SERVER_NAME, &[]).get("server_name")
}

/// Ends the statement with an ERROR: the value has no canonical JSON, so it cannot be signed.
fn not_canonical(error: &dyn std::error::Error) -> ! {
    ereport!(ERROR, PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, format!("cannot be signed: {error}"));
}

fn sign(object: &mut Map, server_name: &str, key: &KeyPair) {
    if let Err(error) = sign_json(object, server_name, key) {
        not_canonical(&error);
    }
}

/// `GET /_matrix/key/v2/server`
#[pg_extern(stable)]
fn published_keys() -> String {
    connect(Mode::Read, |db| {
        let (mut current, mut old, mut in_use) = (Map::new(), Map::new(), Vec::new());
        for row in db.query(KEYS, &[]) {
            let key_id: String = row.get("key_id");
            let key = Signer::key_of_seed(&key_id, &row.get::<Vec<u8>>("seed"));
            let public_key = key.public_key_base64();
            match row.opt::<i64>("expired_ts") {
                None => {
                    current.insert(key_id, json!({ "key": public_key }));
                    in_use.push(key);
                }
                Some(expired_ts) => {
                    old.insert(key_id, json!({ "key": public_key, "expired_ts": expired_ts }));
                }
            }
        }
        let server_name = server_name(db);
        let mut published = Map::new();
        let valid_until: i64 = db.query_one(NOW, &[]).get::<i64>("now") + VALIDITY;
        published.insert("server_name".to_owned(), server_name.clone().into());
        published.insert("valid_until_ts".to_owned(), valid_until.into());
        published.insert("verify_keys".to_owned(), current.into());
        published.insert("old_verify_keys".to_owned(), old.into());
        in_use.iter().for_each(|key| sign(&mut published, &server_name, key));
        Value::Object(published).to_string()
    })
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

/// Adds this server's signature to the published keys of other servers, as a notary.
#[pg_extern(stable)]
fn sign_server_keys(responses: Vec<String>) -> Vec<String> {
    connect(Mode::Read, |db| {
        let signer = Signer::current(db);
        let notarize = |response: &String| {
            let mut response = parse_object(response).unwrap_or_else(|error| not_canonical(&error));
            sign(&mut response, &signer.server_name, &signer.key);
            Value::Object(response).to_string()
        };
        responses.iter().map(notarize).collect()
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
