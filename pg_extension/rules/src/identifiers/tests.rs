use super::{
    host, is_common_namespaced_identifier, is_ip_literal, is_opaque_identifier, is_room_alias,
    is_server_name, is_user_id, same_server, server_name,
};

#[test]
fn server_names_follow_the_first_colon() {
    assert_eq!(server_name("@a:b:1"), Some("b:1"));
    assert_eq!(server_name("!room:[::1]:8448"), Some("[::1]:8448"));
    assert_eq!(server_name("$hash"), None);
    assert!(same_server("@a:b", "!c:b"));
    assert!(!same_server("@a:b", "@a:B"));
    assert!(!same_server("a", "a"));
}

#[test]
fn server_names_that_are_none() {
    for name in [
        "", ":1", "a:", "a:123456", "a:x", "a:1:2", "a b", "ä", "a_b", "[::1", "[::1]x", "[::1]:", "[x]",
        "a/b", "[]",
    ] {
        assert!(!is_server_name(name), "{name}");
    }
    assert!(is_server_name(&"a".repeat(255)));
    assert!(!is_server_name(&"a".repeat(256)));
    // The grammar limits a port's digits, not its value.
    assert!(is_server_name("a:99999"));
}

#[test]
fn user_ids_that_are_none() {
    for id in ["", "@", "@a", "a:b", "@a:", "@a:b c", "#a:b", "@a\0:b", "@a:b\0"] {
        assert!(!is_user_id(id), "{id:?}");
    }
    for id in ["@a:b", "@A b\u{1}ü!:b", "@:b", "@a:[::1]:1", "@@:b"] {
        assert!(is_user_id(id), "{id:?}");
    }
}

#[test]
fn room_aliases() {
    for alias in ["#a:b", "#A b\u{1}ü!:b", "#a:[::1]:1", "##:b"] {
        assert!(is_room_alias(alias), "{alias:?}");
    }
    for alias in ["", "#", "#a", "a:b", "#a:", "#:b", "#a:b c", "@a:b", "#a\0:b", "#a:b\0"] {
        assert!(!is_room_alias(alias), "{alias:?}");
    }
}

#[test]
fn common_namespaced_identifiers() {
    for id in ["a", "m.tz", "com.example.a-b_9", "a..", &"a".repeat(255)] {
        assert!(is_common_namespaced_identifier(id), "{id:?}");
    }
    for id in ["", "A", "9a", ".a", "_a", "-a", "a b", "a/b", "é", "aA", &"a".repeat(256)] {
        assert!(!is_common_namespaced_identifier(id), "{id:?}");
    }
}

#[test]
fn opaque_identifiers() {
    for id in ["a", "0", "~._-", "AZaz09", &"a".repeat(255)] {
        assert!(is_opaque_identifier(id), "{id:?}");
    }
    for id in ["", " ", "a+b", "a/b", "a=", "é", "a\0", &"a".repeat(256)] {
        assert!(!is_opaque_identifier(id), "{id:?}");
    }
}

#[test]
fn hosts_have_neither_port_nor_final_dot() {
    for name in ["evil.example", "evil.example:8448", "evil.example.", "evil.example.:8448"] {
        assert_eq!(host(name), "evil.example", "{name}");
    }
    assert_eq!(host("[2001:db8::1]:8448"), "[2001:db8::1]");
    assert_eq!(host("[2001:db8::1]"), "[2001:db8::1]");
}

#[test]
fn hosts_that_a_url_takes_for_an_address() {
    for address in
        ["127.0.0.1", "[::1]", "127.1", "0x7f000001", "0X7F.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "0"]
    {
        assert!(is_ip_literal(address), "{address}");
    }
    for name in ["localhost", "1.example", "0x7f.example", "x0", "0xg", "a-1", ""] {
        assert!(!is_ip_literal(name), "{name}");
    }
}
