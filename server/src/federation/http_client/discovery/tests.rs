#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

#[derive(Default)]
struct Fake {
    srv: HashMap<String, Vec<Srv>>,
    addresses: HashMap<String, Vec<IpAddr>>,
}

impl Fake {
    fn with_srv(mut self, name: &str, records: &[(u16, u16, u16, &str)]) -> Self {
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority,
            weight,
            port,
            target: target.to_owned(),
        };
        self.srv.insert(name.to_owned(), records.iter().map(record).collect());
        self
    }

    fn with_host(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.addresses.insert(name.to_owned(), addresses);
        self
    }

    async fn servers(self, host: &str) -> Result<Vec<String>, String> {
        let found = Resolver::new(self, false).servers(host).await.map_err(|error| error.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }
}

impl Dns for Fake {
    async fn srv(&self, name: &str) -> Vec<Srv> {
        self.srv.get(name).cloned().unwrap_or_default()
    }

    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.addresses.get(name).cloned().ok_or_else(|| io::Error::other("no such host"))
    }
}

#[test]
fn authorities_are_server_names() {
    let read = |name: &str| Authority::parse(name).map(|authority| (authority.host.clone(), authority.port));
    assert_eq!(read("example.org"), Some(("example.org".to_owned(), None)));
    assert_eq!(read("Example.ORG:1234"), Some(("example.org".to_owned(), Some(1234))));
    assert_eq!(read("1.2.3.4"), Some(("1.2.3.4".to_owned(), None)));
    assert_eq!(read("[2a00::1]:99"), Some(("[2a00::1]".to_owned(), Some(99))));
    assert_eq!(read("[2a00::1]"), Some(("[2a00::1]".to_owned(), None)));
    for wrong in ["", "a/b", "exa mple", "example.org:", "example.org:70000", "user@host", "[2a00::1"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
    for address in ["127.1", "0x7f000001", "2130706433:8448", "0177.0.0.1", "127.0.0.1.", "1.2.3", "0"] {
        assert_eq!(read(address), None, "{address}");
    }
}

#[test]
fn literals_and_ports_need_no_discovery() {
    let is_open = |name: &str| Authority::parse(name).unwrap().is_open();
    assert!(is_open("example.org"));
    assert!(!is_open("example.org:8448"));
    assert!(!is_open("1.2.3.4"));
    assert!(!is_open("[2a00::1]"));
    let literal = Authority::parse("[2a00::1]").unwrap();
    assert_eq!((literal.port_or_default(), literal.host_header()), (8448, "[2a00::1]".to_owned()));
    let with_port = Authority::parse("1.2.3.4:99").unwrap();
    assert_eq!((with_port.port_or_default(), with_port.host_header()), (99, "1.2.3.4:99".to_owned()));
}

#[test]
fn urls_are_judged_by_the_host_that_their_parser_reads() {
    let admits = |private: bool, url: &str| {
        Resolver::new(Fake::default(), private).admits_url(&Url::parse(url).unwrap())
    };
    for url in
        ["https://127.1", "https://0x7f000001", "https://0", "https://[::1]", "https://[::ffff:7f00:1]"]
    {
        assert!(!admits(false, url), "{url}");
        assert!(admits(true, url), "{url}");
    }
    for url in ["https://example.org", "https://1.1.1.1:8448", "https://[2a00::1]"] {
        assert!(admits(false, url), "{url}");
    }
}

#[tokio::test]
async fn without_srv_records_the_default_port_is_taken() {
    let dns = Fake::default().with_host("example.org", &["2a00::1", "1.1.1.1"]);
    assert_eq!(dns.servers("example.org").await.unwrap(), ["[2a00::1]:8448", "1.1.1.1:8448"]);
    assert!(Fake::default().servers("example.org").await.is_err());
}

#[tokio::test]
async fn srv_records_are_taken_by_priority() {
    let dns = Fake::default()
        .with_srv("_matrix-fed._tcp.example.org", &[(20, 9, 3, "c."), (10, 1, 2, "b."), (5, 0, 1, "a.")])
        .with_srv("_matrix._tcp.example.org", &[(1, 1, 9, "old.")])
        .with_host("a", &["1.1.1.1"])
        .with_host("b", &["1.1.1.2"])
        .with_host("c", &["1.1.1.3"])
        .with_host("old", &["1.1.1.9"]);
    assert_eq!(dns.servers("example.org").await.unwrap(), ["1.1.1.1:1", "1.1.1.2:2", "1.1.1.3:3"]);
}

fn srv(priority: u16, weight: u16, target: &str) -> Srv {
    Srv { priority, weight, port: 1, target: target.to_owned() }
}

fn targets(ordered: &[Srv]) -> String {
    ordered.iter().map(|srv| srv.target.as_str()).collect()
}

#[test]
fn records_of_equal_priority_are_drawn_by_weight() {
    let records = || vec![srv(2, 0, "d"), srv(1, 1, "a"), srv(1, 3, "b"), srv(1, 0, "c")];
    assert_eq!(targets(&in_order(records(), |_| 0)), "cabd");
    assert_eq!(targets(&in_order(records(), |greatest| greatest)), "bacd");
    let mut asked = Vec::new();
    in_order(records(), |greatest| {
        asked.push(greatest);
        greatest
    });
    assert_eq!(asked, [4, 1, 0, 0]);

    // Of the numbers from 0 to 4 the first draws `c`, the second `a`, the others `b`.
    let rounds = 10_000;
    let mut random = StdRng::seed_from_u64(2782);
    let mut first = HashMap::new();
    for _ in 0..rounds {
        let ordered = in_order(records(), |greatest| random.random_range(0..=greatest));
        *first.entry(ordered[0].target.clone()).or_insert(0) += 1;
    }
    for (target, share) in [("a", 0.2), ("b", 0.6), ("c", 0.2)] {
        let drawn = f64::from(first[target]) / f64::from(rounds);
        assert!((drawn - share).abs() < 0.02, "{target}: {drawn}");
    }
}

#[tokio::test]
async fn the_deprecated_service_name_is_the_second_choice() {
    let dns = Fake::default()
        .with_srv("_matrix._tcp.example.org", &[(1, 1, 9, "old.")])
        .with_host("old", &["1.1.1.9"])
        .with_host("example.org", &["1.1.1.1"]);
    assert_eq!(dns.servers("example.org").await.unwrap(), ["1.1.1.9:9"]);
}

#[tokio::test]
async fn a_dot_as_target_says_that_there_is_none() {
    let dns = Fake::default()
        .with_srv("_matrix-fed._tcp.example.org", &[(0, 0, 0, ".")])
        .with_host("example.org", &["1.1.1.1"]);
    assert!(dns.servers("example.org").await.is_err());
}

#[tokio::test]
async fn private_addresses_are_left_out_also_behind_srv_records() {
    let dns = || {
        Fake::default()
            .with_srv("_matrix-fed._tcp.example.org", &[(1, 1, 1, "inside."), (2, 1, 2, "outside.")])
            .with_host("inside", &["10.0.0.1", "127.0.0.1"])
            .with_host("outside", &["192.168.0.1", "1.1.1.1"])
            .with_host("private.org", &["10.0.0.1"])
    };
    assert_eq!(dns().servers("example.org").await.unwrap(), ["1.1.1.1:2"]);
    let refused = dns().servers("private.org").await.unwrap_err();
    assert!(refused.contains("private"), "{refused}");
    let trusting = Resolver::new(dns(), true);
    assert_eq!(trusting.servers("private.org").await.unwrap(), ["10.0.0.1:8448".parse().unwrap()]);
}
