#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::admits;

fn admitted(acl: Value, server: &str) -> bool {
    admits(acl.as_object().unwrap(), server)
}

#[test]
fn who_is_not_allowed_is_denied() {
    assert!(!admitted(json!({}), "good.example"));
    assert!(!admitted(json!({ "allow": "*" }), "good.example"));
    assert!(admitted(json!({ "allow": ["*"] }), "good.example"));
    assert!(admitted(json!({ "allow": [7, null, "good.*"] }), "good.example"));
    assert!(!admitted(json!({ "allow": ["good.example"] }), "sub.good.example"));
}

#[test]
fn who_is_denied_is_not_allowed() {
    let acl = json!({ "allow": ["*"], "deny": ["*.evil.example", "evil?.example"] });
    for server in ["a.evil.example", "a.b.evil.example", "evil2.example"] {
        assert!(!admitted(acl.clone(), server), "{server}");
    }
    assert!(admitted(acl, "evil.example"));
}

#[test]
fn neither_case_nor_port_nor_final_dot_counts() {
    let acl = json!({ "allow": ["*"], "deny": ["EVIL.example", "[2001:DB8::1]", "192.0.2.*"] });
    let servers =
        ["evil.EXAMPLE", "evil.example:8448", "evil.example.", "evil.example.:1", "[2001:db8::1]:1"];
    for server in servers.into_iter().chain(["[2001:db8::1]", "192.0.2.7:443"]) {
        assert!(!admitted(acl.clone(), server), "{server}");
    }
    // A pattern with a port matches nothing, as names are compared without their port.
    assert!(admitted(json!({ "allow": ["*"], "deny": ["evil.example:8448"] }), "evil.example:8448"));
}

#[test]
fn ip_literals_may_be_kept_out() {
    let acl = json!({ "allow": ["*"], "allow_ip_literals": false });
    for server in ["127.0.0.1", "127.0.0.1:80", "127.1", "2130706433:80", "[::1]", "[::1]:80"] {
        assert!(!admitted(acl.clone(), server), "{server}");
        assert!(admitted(json!({ "allow": ["*"], "allow_ip_literals": "false" }), server), "{server}");
    }
    assert!(admitted(acl.clone(), "1.example"));
    assert!(admitted(acl, "127.0.0.1.example:80"));
}
