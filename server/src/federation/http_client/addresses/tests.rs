use super::*;

fn public(text: &str) -> bool {
    is_public(text.parse().expect("an address"))
}

#[test]
fn addresses_of_the_internet_are_public() {
    for address in ["1.1.1.1", "8.8.8.8", "100.63.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255"] {
        assert!(public(address), "{address}");
    }
    for address in ["2606:4700::1111", "2a00::1", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"] {
        assert!(public(address), "{address}");
    }
}

#[test]
fn all_others_are_not() {
    let v4 = [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ];
    let v6 = [
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
    ];
    for address in v4.iter().chain(&v6) {
        assert!(!public(address), "{address}");
    }
}
