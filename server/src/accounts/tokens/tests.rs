#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::time::Duration;

use serde_json::Map;

use super::{Grant, device_id, random};
use crate::http::hash_token;

#[test]
fn a_grant_without_lifetime_is_an_access_token_for_ever() {
    let grant = Grant::new(None);
    assert_eq!((grant.refresh_hash(), grant.lifetime_seconds()), (None, None));
    let hash = grant.access_hash();
    let mut answer = Map::new();
    grant.write(&mut answer);
    assert_eq!(answer.keys().collect::<Vec<_>>(), ["access_token"]);
    let token = answer["access_token"].as_str().unwrap();
    assert!(token.starts_with("mat_"));
    assert_eq!(hash, hash_token(token));
}

#[test]
fn a_grant_with_lifetime_has_a_refresh_token() {
    let grant = Grant::refreshed(Duration::from_millis(1500));
    assert_eq!(grant.lifetime_seconds(), Some(1.5));
    let hash = grant.refresh_hash().unwrap();
    let mut answer = Map::new();
    grant.write(&mut answer);
    assert_eq!(answer["expires_in_ms"], 1500);
    assert!(answer["access_token"].as_str().unwrap().starts_with("matr_"));
    let token = answer["refresh_token"].as_str().unwrap();
    assert!(token.starts_with("mar_"));
    assert_eq!(hash, hash_token(token));
}

#[test]
fn tokens_have_256_random_bits() {
    assert_eq!(random("x").len(), 1 + 43);
    assert_ne!(random("x"), random("x"));
}

#[test]
fn device_ids_are_ten_letters() {
    let id = device_id();
    assert_eq!(id.len(), 10);
    assert!(id.bytes().all(|b| b.is_ascii_uppercase()));
}
