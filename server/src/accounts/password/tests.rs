#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use super::{COST, NOBODY, hash, verify};

#[tokio::test]
async fn a_hash_verifies_its_password_alone() {
    let stored = hash("correct horse\0battery", "test").await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$"));
    assert!(verify("correct horse\0battery", Some(&stored), "test").await.unwrap());
    assert!(!verify("correct horse", Some(&stored), "test").await.unwrap());
    assert!(!verify("", Some(&stored), "test").await.unwrap());
}

#[tokio::test]
async fn hashes_are_those_of_other_programs() {
    let stored = hash("correct horse", "test").await.unwrap();
    assert!(
        Argon2::default().verify_password(b"correct horse", &PasswordHash::new(&stored).unwrap()).is_ok()
    );
    for (algorithm, cost) in [(Algorithm::Argon2id, (19_456, 2, 1)), (Algorithm::Argon2i, (1024, 3, 2))] {
        let params = Params::new(cost.0, cost.1, cost.2, Some(24)).unwrap();
        let argon2 = Argon2::new(algorithm, Version::V0x13, params);
        let theirs =
            argon2.hash_password_with_salt(b"correct horse", b"salt of another").unwrap().to_string();
        assert!(verify("correct horse", Some(&theirs), "test").await.unwrap(), "{theirs}");
        assert!(!verify("wrong horse", Some(&theirs), "test").await.unwrap(), "{theirs}");
    }
}

#[tokio::test]
async fn equal_passwords_have_different_hashes() {
    assert_ne!(hash("same", "test").await.unwrap(), hash("same", "test").await.unwrap());
}

#[tokio::test]
async fn without_a_hash_or_with_a_damaged_one_nothing_verifies() {
    assert!(!verify("x", None, "test").await.unwrap());
    assert!(!verify("x", Some("no PHC string"), "test").await.unwrap());
}

#[test]
fn an_unknown_user_costs_what_a_known_one_does() {
    let nobody = PasswordHash::new(NOBODY).unwrap();
    let params = Params::try_from(&nobody).unwrap();
    assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), COST);
    assert_eq!(nobody.hash.unwrap().len(), Params::DEFAULT_OUTPUT_LEN);
}

#[tokio::test]
async fn empty_and_overlong_passwords_are_refused() {
    assert_eq!(hash("", "test").await.unwrap_err().errcode, "M_WEAK_PASSWORD");
    assert_eq!(hash(&"x".repeat(1025), "test").await.unwrap_err().errcode, "M_INVALID_PARAM");
}
