//! Publishes this server's signing keys, and signs those of others as a notary. Server-Server API,
//! "Publishing Keys" and "Querying Keys Through Another Server".

use matriarch_rules::{Map, json::parse_object};
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    base::{
        connection::connect,
        signing::Signer,
        spi::{Db, Mode},
    },
    federation::server_keys::{not_canonical, sign},
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
