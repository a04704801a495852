use std::time::{Duration, SystemTime};

use super::{at, is_good, new};

#[test]
fn a_nonce_is_good_with_its_secret_alone() {
    let nonce = new("the secret");
    assert!(is_good("the secret", &nonce));
    assert!(!is_good("another", &nonce));
    assert_ne!(nonce, new("the secret"));
}

#[test]
fn an_expired_nonce_is_not_good() {
    assert!(!is_good("s", &at("s", SystemTime::now() - Duration::from_secs(2))));
}

#[test]
fn whatever_else_is_not_good() {
    let nonce = new("s");
    let mut changed = nonce.clone();
    changed.replace_range(0..1, if nonce.starts_with('A') { "B" } else { "A" });
    for text in ["", "A", "\0", "not base64!", &changed, &nonce[..nonce.len() - 4]] {
        assert!(!is_good("s", text), "{text:?}");
    }
}
