#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use tokio_postgres::config::{Host, SslMode};

use super::{PostgresUrl, Trust};

fn read(text: &str) -> PostgresUrl {
    text.parse().map_err(|error| format!("{text}: {error}")).unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<PostgresUrl>().map(|_| ()).unwrap_err()
}

#[test]
fn modes_are_those_of_libpq() {
    let cases = [
        ("", SslMode::Prefer, Trust::Any),
        ("sslmode=disable", SslMode::Disable, Trust::Any),
        ("sslmode=prefer", SslMode::Prefer, Trust::Any),
        ("sslmode=require", SslMode::Require, Trust::Any),
        ("sslmode=require&sslrootcert=/ca", SslMode::Require, Trust::Authority("/ca".into())),
        ("sslmode=verify-ca&sslrootcert=/ca", SslMode::Require, Trust::Authority("/ca".into())),
        ("sslrootcert=%2Fc%20a&sslmode=verify-full", SslMode::Require, Trust::Host(Some("/c a".into()))),
        ("sslmode=verify-full", SslMode::Require, Trust::Host(None)),
        ("sslmode=verify-full&sslrootcert=system", SslMode::Require, Trust::Host(None)),
        ("sslrootcert=system", SslMode::Require, Trust::Host(None)),
    ];
    for (parameters, mode, trust) in cases {
        let url = read(&format!("postgres://user@host/database?{parameters}"));
        assert_eq!((url.config.get_ssl_mode(), url.trust), (mode, trust), "{parameters}");
        assert_eq!(url.config.get_dbname(), Some("database"), "{parameters}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let cases = [
        ("sslmode=allow", "must be disable, prefer"),
        ("sslmode=verify-ca", "needs `sslrootcert`"),
        ("sslmode=verify-ca&sslrootcert=system", "needs `sslmode=verify-full`"),
        ("sslrootcert=/ca", "is not used with `sslmode=prefer`"),
        ("sslmode=disable&sslrootcert=/ca", "is not used with `sslmode=disable`"),
        ("sslmode=require&sslcert=/c", "`sslcert` needs `sslkey`"),
        ("sslmode=require&sslkey=/k", "`sslkey` needs `sslcert`"),
        ("sslmod=require", "unknown option `sslmod`"),
    ];
    for (parameters, told) in cases {
        let error = refusal(&format!("postgres://user:hush@host/database?{parameters}"));
        assert!(error.contains(told) && !error.contains("hush"), "{parameters}: {error}");
    }
}

#[test]
fn other_parameters_stay() {
    let url = read("postgresql://u:a?b@h:6432/d?application_name=x&sslcert=/c&sslkey=/k&connect_timeout=3");
    assert_eq!(url.config.get_application_name(), Some("x"));
    assert_eq!(url.config.get_password(), Some(&b"a?b"[..]));
    assert_eq!(url.config.get_connect_timeout().unwrap().as_secs(), 3);
    assert_eq!(url.identity, Some(("/c".into(), "/k".into())));
}

#[test]
fn strings_of_pairs_are_read_as_well() {
    let url =
        read(r"host=h sslmode = verify-full password='it\'s = sslmode=disable' sslrootcert='/c a' user=a\ b");
    assert_eq!(url.trust, Trust::Host(Some("/c a".into())));
    assert_eq!(url.config.get_password(), Some(&b"it's = sslmode=disable"[..]));
    assert_eq!(url.config.get_user(), Some("a b"));
    assert_eq!(url.config.get_hosts(), [Host::Tcp("h".to_owned())]);
    assert_eq!(read("user=x").trust, Trust::Any);
    for wrong in ["nonsense", "user='x", "user=x nonsense"] {
        refusal(wrong);
    }
}

#[test]
fn sockets_have_no_tls() {
    let url = read("host=/run/postgresql user=x sslmode=require");
    assert_eq!(url.config.get_ssl_mode(), SslMode::Disable);
}

#[test]
fn an_address_alone_is_the_name_to_check() {
    let url = read("hostaddr=192.0.2.1 user=x sslmode=verify-full");
    assert_eq!(url.config.get_hosts(), [Host::Tcp("192.0.2.1".to_owned())]);
}
