//! The predefined push rules, which all users have. Client-Server API, "Push Rules".

use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::base::{
    response::{Response, ResponseRows, respond},
    session::Session,
    spi::Mode,
};

/// The type of global account data in which `/sync` returns the rules.
pub const ACCOUNT_DATA_TYPE: &str = "m.push_rules";

/// The rules as the specification defines them; `{user_id}` stands for the user's id.
const DEFAULT: &str = include_str!("push_rules/default.json");

/// The ruleset of a user who has changed nothing.
pub fn default_ruleset(user_id: &str) -> Value {
    let mut ruleset = serde_json::from_str(DEFAULT).unwrap_or_else(|error| panic!("default.json: {error}"));
    fill_in(&mut ruleset, user_id);
    ruleset
}

fn fill_in(value: &mut Value, user_id: &str) {
    match value {
        Value::String(string) if string == "{user_id}" => user_id.clone_into(string),
        Value::Array(array) => array.iter_mut().for_each(|item| fill_in(item, user_id)),
        Value::Object(object) => object.values_mut().for_each(|item| fill_in(item, user_id)),
        _ => {}
    }
}

/// `GET /pushrules/`
#[pg_extern(stable)]
fn push_rules(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        Ok(Response::json(&json!({ "global": default_ruleset(&session.user_id) })))
    })
}

/// `GET /pushrules/global/`
#[pg_extern(stable)]
fn push_rules_global(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        Ok(Response::json(&default_ruleset(&session.user_id)))
    })
}
