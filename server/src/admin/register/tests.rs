use super::{RegisterBody, is_signed, unhex};

fn body(admin: bool, user_type: Option<&str>, mac: &str) -> RegisterBody {
    RegisterBody {
        nonce: "nonce".to_owned(),
        username: "alice".to_owned(),
        password: "pass".to_owned(),
        admin,
        user_type: user_type.map(str::to_owned),
        displayname: None,
        mac: mac.to_owned(),
    }
}

// printf 'nonce\0alice\0pass\0notadmin' | openssl dgst -sha1 -hmac secret, and so on.
const NOT_ADMIN: &str = "4b8b27667e6fe6dd18d944050f8a62e5a37e2d99";
const ADMIN: &str = "f62fca97d1ba6f156e9f2a56cb77295fe732e6d5";
const BOT: &str = "ab30bdeb55b82fcf2ec01a302cfc05472b3500d3";

#[test]
fn the_hmac_covers_every_part() {
    assert!(is_signed("secret", &body(false, None, NOT_ADMIN)));
    assert!(is_signed("secret", &body(true, None, ADMIN)));
    assert!(is_signed("secret", &body(false, Some("bot"), BOT)));
    assert!(is_signed("secret", &body(true, None, &ADMIN.to_uppercase())));
    assert!(!is_signed("secret", &body(true, None, NOT_ADMIN)));
    assert!(!is_signed("secret", &body(false, Some("bot"), NOT_ADMIN)));
    assert!(!is_signed("other", &body(false, None, NOT_ADMIN)));
    assert!(!is_signed("secret", &body(false, None, "")));
}

#[test]
fn hexadecimal_is_read_strictly() {
    assert_eq!(unhex("00fF"), Some(vec![0, 255]));
    for text in ["0", "0g", "é0", "+1"] {
        assert_eq!(unhex(text), None, "{text:?}");
    }
}
