#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(clippy::result_large_err, reason = "figment's test helper gives the error's type")]

use figment::Figment;
use figment::providers::Format;
use toml::Value;

use super::environment::{Meaning, known_keys, meaning};
use super::{Api, Config, RegistrationMode, Toml, check_server_name};

fn load(text: &str) -> Result<Config, String> {
    Config::from_figment(&Figment::from(Toml::string(text))).map_err(|error| error.to_string())
}

#[test]
fn nothing_configured_is_a_private_server_on_loopback_that_lets_anybody_register() {
    let config = load("").unwrap();
    assert_eq!(config.server_name, "localhost");
    assert!(config.is_embedded());
    assert_eq!(config.registration.mode(), RegistrationMode::Open);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].socket_address().to_string(), "127.0.0.1:8008");
    assert_eq!(config.listeners[0].apis, [Api::Client, Api::Health]);
    assert_eq!(config.public_base_url.as_deref(), Some("http://localhost:8008"));
}

#[test]
fn registration_is_off_with_any_other_configuration() {
    let others = [
        "server_name = 'example.org'",
        "server_name = 'example.org'\n[database]\nurl = 'postgres://matriarch_api@localhost/matriarch'",
        "[[listeners]]\naddress = '0.0.0.0'\nport = 8008",
    ];
    for other in others {
        let config = load(other).unwrap();
        assert_eq!(config.registration.mode(), RegistrationMode::Off, "{other}");
        assert_eq!(config.public_base_url, None, "{other}");
    }
}

#[test]
fn a_database_needs_a_server_name() {
    let error = load("[database]\nurl = 'postgres://localhost/matriarch'").unwrap_err();
    assert!(error.contains("`server_name`"), "{error}");
}

#[test]
fn errors_name_the_key_and_the_reason() {
    let cases = [
        ("servername = 'x'", "servername", "unknown field"),
        ("[limits]\nmax_body = 1", "limits.max_body", "unknown field"),
        ("[limits]\nmax_body_size = 'big'", "limits.max_body_size", "expected usize"),
        ("[limits]\nmax_body_size = 10", "limits.max_body_size", "at least 65536"),
        ("[[listeners]]\naddress = '::1'\nport = 70000", "listeners.0.port", "u16"),
        ("[[listeners]]\naddress = 'here'\nport = 1", "listeners.0.address", "IP"),
        ("[[listeners]]\naddress = '::1'", "listeners.0", "missing field `port`"),
        ("[[listeners]]\naddress = '::1'\nport = 1\napis = []", "listeners.0.apis", "at least one"),
        (
            "[[listeners]]\naddress = '::1'\nport = 1\napis = ['clients']",
            "listeners.0.apis.0",
            "unknown variant",
        ),
        (
            "[[listeners]]\naddress = '::1'\nport = 1\n[listeners.tls]\n\
             certificate = '/no.pem'\nkey = '/no.key'",
            "listeners.0.tls.certificate",
            "No such file",
        ),
        (
            "[[listeners]]\naddress = '::1'\nport = 1\n[[listeners]]\naddress = '::1'\nport = 1",
            "listeners.1",
            "another listener",
        ),
        ("[registration]\nshared_secret = 12345678", "registration.shared_secret", "in quotes"),
        ("[registration]\nmode = 'maybe'", "registration.mode", "unknown variant"),
        ("[registration]\nmode = 'shared_secret'", "registration.shared_secret", "must be set"),
        ("[registration]\nshared_secret = 'short'", "registration.shared_secret", "at least 8"),
        (
            "[[registration.terms]]\nid = 'a b'\nversion = '1'\nlanguages = {}",
            "registration.terms.0.id",
            "must be 1 to 255",
        ),
        (
            "[[registration.terms]]\nid = 'a'\nversion = ''\nlanguages = {}",
            "registration.terms.0.version",
            "must be 1 to 255",
        ),
        (
            "[[registration.terms]]\nid = 'a'\nversion = '1'\nlanguages = {}",
            "registration.terms.0.languages",
            "at least one",
        ),
        (
            "[[registration.terms]]\nid = 'a'\nversion = '1'\nlanguages.version = { name = 'n', url = 'https://a' }",
            "registration.terms.0.languages",
            "language codes",
        ),
        (
            "[[registration.terms]]\nid = 'a'\nversion = '1'\n\
             languages.en = { name = '', url = 'https://a' }",
            "registration.terms.0.languages.en.name",
            "empty",
        ),
        (
            "[[registration.terms]]\nid = 'a'\nversion = '1'\n\
             languages.en = { name = 'n', url = 'javascript:x' }",
            "registration.terms.0.languages.en.url",
            "https://",
        ),
        (
            "[registration]\nterms = [{ id = 'a', version = '1', languages.en = { name = 'n', url = 'http://a' } }, \
             { id = 'a', version = '2', languages.en = { name = 'n', url = 'http://a' } }]",
            "registration.terms.1.id",
            "another document's",
        ),
        ("[room_versions]\navailable = ['13']", "room_versions.available.0", "no room version"),
        ("[room_versions]\ndefault = 10\navailable = ['11']", "room_versions.default", "one of `available`"),
        ("[[support.contacts]]\nrole = ''\nmatrix_id = '@a:b'", "support.contacts.0.role", "empty"),
        ("[[support.contacts]]\nrole = 'm.role.admin'", "support.contacts.0", "`email_address`"),
        (
            "[[support.contacts]]\nrole = 'm.role.admin'\nmatrix_id = 'a'",
            "support.contacts.0.matrix_id",
            "user id",
        ),
        ("[support]\npage = 'example.org'", "support.page", "https://"),
        ("server_name = 'under_score'", "server_name", "DNS name"),
        ("server_name = 'a'\n[database]\nurl = 'nonsense'", "database.url", "invalid"),
        ("[database]\nlisten_url = 'postgres://x'", "database.listen_url", "`database.url`"),
        ("[database]\npool_size = 0", "database.pool_size", "at least 1"),
        ("[log]\nlevel = 'a=b=c'", "log.level", "expected one of"),
        ("[embedded]\nbin_dir = '/nowhere'", "embedded.bin_dir", "no `postgres`"),
        ("public_base_url = 'example.org'", "public_base_url", "https://"),
    ];
    for (text, key, reason) in cases {
        let error = load(text).unwrap_err();
        assert!(error.contains(&format!("`{key}`")) && error.contains(reason), "{text}\n{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let config = load(
        "server_name = 'a'\n[database]\nurl = 'postgres://u:hush@h/d'\n[registration]\nshared_secret = 'hushhush'",
    )
    .unwrap();
    let printed = format!("{config:?} {}", toml::to_string_pretty(&config).unwrap());
    assert!(!printed.contains("hush"), "{printed}");
    assert_eq!(config.registration.shared_secret.unwrap().reveal(), "hushhush");
    let refused = load("[registration]\nshared_secret = 12345678").unwrap_err();
    assert!(!refused.contains("12345678"), "{refused}");
}

#[test]
fn server_names_follow_the_grammar() {
    let long = "a".repeat(231);
    for good in ["localhost", "matrix.org", "matrix.org:8448", "1.2.3.4", "[::1]", "[2001:db8::1]:80"] {
        assert_eq!(check_server_name(good), Ok(()), "{good}");
    }
    for bad in ["", ":80", "a:", "a:123456", "a:b", "[::1", "[x]:1", "[::1]80", "a b", "ä.org", "a/b", &long]
    {
        assert!(check_server_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    figment::Jail::expect_with(|jail| {
        jail.create_file("matriarch.toml", "server_name = 'file.example'\n[log]\nformat = 'json'")?;
        jail.set_env("MATRIARCH_SERVER_NAME", "env.example");
        jail.set_env("MATRIARCH_LISTENERS", r#"[{address = "::1", port = 1234, apis = ["client"]}]"#);
        jail.set_env("MATRIARCH_REGISTRATION__MODE", "token");
        jail.set_env("MATRIARCH_LIMITS__MAX_SYNC_TIMEOUT", "60");
        let config =
            Config::load(Some(std::path::Path::new("matriarch.toml"))).map_err(|error| error.to_string())?;
        assert_eq!(config.server_name, "env.example");
        assert_eq!(config.log.format, super::LogFormat::Json);
        assert_eq!(config.listeners[0].socket_address().to_string(), "[::1]:1234");
        assert_eq!(config.registration.mode(), RegistrationMode::Token);
        assert_eq!(config.limits.max_sync_timeout, 60);
        jail.set_env("MATRIARCH_LIMITS__NONSENSE", "1");
        let error = Config::load(None).map(|_| ()).map_err(|error| error.to_string()).unwrap_err();
        assert!(error.to_uppercase().contains("LIMITS.NONSENSE"), "{error}");
        Ok(())
    });
}

#[test]
fn variables_of_a_container_platform_are_no_reason_not_to_start() {
    let injected = [
        "MATRIARCH_PORT",
        "MATRIARCH_SERVICE_HOST",
        "MATRIARCH_SERVICE_PORT",
        "MATRIARCH_SERVICE_PORT_HTTP",
        "MATRIARCH_PORT_8008_TCP",
        "MATRIARCH_PORT_8008_TCP_ADDR",
        "MATRIARCH_PORT_8008_TCP_PORT",
        "MATRIARCH_PORT_8008_TCP_PROTO",
        "MATRIARCH_PORT_53_UDP_ADDR",
        // For services called `matriarch-database` and `matriarch-log`.
        "MATRIARCH_DATABASE_SERVICE_HOST",
        "MATRIARCH_DATABASE_PORT",
        "MATRIARCH_DATABASE_PORT_5432_TCP_ADDR",
        "MATRIARCH_LOG_PORT",
    ];
    figment::Jail::expect_with(|jail| {
        for name in injected {
            jail.set_env(name, "tcp://10.0.0.1:8008");
        }
        jail.set_env("MATRIARCH_HOME", "/somewhere");
        jail.set_env("MATRIARCH_DATABASE__POOL_SIZE", "3");
        let config = Config::load(None).map_err(|error| error.to_string())?;
        assert_eq!(config.database.pool_size, 3);
        assert_eq!(config.ignored_variables, ["MATRIARCH_HOME"]);
        Ok(())
    });
}

#[test]
fn mistyped_variables_are_errors() {
    let cases = [
        ("MATRIARCH_DATABASE__URLL", "URLL"),
        ("MATRIARCH_DATABSE__URL", "DATABSE"),
        ("MATRIARCH_DATABASE__PORT", "PORT"),
        ("MATRIARCH_SERVER_NAEM", "MATRIARCH_SERVER_NAME"),
        ("MATRIARCH_SERVERNAME", "MATRIARCH_SERVER_NAME"),
        ("MATRIARCH_DATABASE_URL", "MATRIARCH_DATABASE__URL"),
        ("MATRIARCH_LOG_LEVEL", "MATRIARCH_LOG__LEVEL"),
        ("MATRIARCH_LISTENER", "MATRIARCH_LISTENERS"),
        ("matriarch_log_levl", "MATRIARCH_LOG__LEVEL"),
    ];
    for (name, told) in cases {
        figment::Jail::expect_with(|jail| {
            jail.set_env(name, "x");
            let error = Config::load(None).map(|_| ()).map_err(|error| error.to_string()).unwrap_err();
            assert!(error.to_uppercase().contains(told), "{name}: {error}");
            Ok(())
        });
    }
}

#[test]
fn no_key_is_taken_for_something_else() {
    let keys = known_keys();
    for key in ["server_name", "listeners", "database__url", "log", "log__level", "embedded__bin_dir"] {
        assert!(keys.iter().any(|known| known == key), "{key} is not among {keys:?}");
    }
    for key in &keys {
        assert_eq!(meaning(key, &keys), Meaning::Key, "{key}");
    }
}

#[test]
fn the_example_is_sound_and_names_every_key() {
    let example = include_str!("../../../docs/matriarch.toml");
    let config = load(&example.replace("\n#= ", "\n")).unwrap();
    let Value::Table(all) = Value::try_from(&config).unwrap() else { panic!("a configuration is a table") };
    for (key, value) in all {
        assert!(example.contains(&key), "{key}");
        for key in value.as_table().into_iter().flat_map(toml::Table::keys) {
            assert!(example.contains(&format!("{key} =")), "{key}");
        }
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let error = Config::load(Some(std::path::Path::new("/no/such/file.toml"))).unwrap_err().to_string();
    assert!(error.contains("/no/such/file.toml"), "{error}");
}
