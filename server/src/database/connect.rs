//! How to connect to a database: address, user, and TLS as `sslmode` and its companions say.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::base::failure::Failure;
use crate::config::{PostgresUrl, Trust};

/// The connection that moves the bytes of a [`Client`], plain or by TLS.
pub type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// The time for one host, where nothing else is configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a host may be silent before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_secs(1);

/// How to connect to a database.
#[derive(Clone)]
pub struct Target {
    /// Each host by itself, in the order of the URL.
    hosts: Vec<Config>,
    tls: MakeRustlsConnect,
    /// The time for one host: for its address, TLS, and the login.
    timeout: Duration,
}

impl Target {
    /// Reads the certificates that `url` names. A failure tells the parameter and the file.
    pub fn new(url: PostgresUrl) -> Result<Self, Failure> {
        let verifier = Verifier {
            authorities: match &url.trust {
                Trust::Any => None,
                Trust::Authority(file) | Trust::Host(Some(file)) => Some(Authorities::read(file)?),
                Trust::Host(None) => Some(Authorities::of_the_system()?),
            },
            check_name: matches!(url.trust, Trust::Host(_)),
            provider: Arc::new(ring::default_provider()),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new("cannot set up TLS", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut tls = match &url.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(read_certificates("sslcert", certificate)?, read_key(key)?)
                .map_err(|error| Failure::new("cannot use `sslcert` and `sslkey`", error))?,
        };
        // Asked for by servers where TLS begins without PostgreSQL's own negotiation.
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self {
            timeout: url.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT),
            hosts: each_host(&url.config),
            tls: MakeRustlsConnect::new(tls),
        })
    }

    /// A target that is reached without TLS.
    pub fn without_tls(mut config: Config) -> Result<Self, Failure> {
        config.ssl_mode(SslMode::Disable);
        Self::new(PostgresUrl { config, trust: Trust::Any, identity: None })
    }

    /// The longest that [`Self::connect`] may take.
    pub fn longest_connect(&self) -> Duration {
        self.timeout + HEAD_START * u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// Opens a connection. Its driver must be polled for the client to get answers.
    ///
    /// The hosts are tried in their order. A host that is gone without a word must not hold up the others:
    /// the next one is tried at once after a refusal, and beside a host that is silent for a moment.
    pub async fn connect(&self) -> Result<(Client, Driver), tokio_postgres::Error> {
        let mut attempts = FuturesUnordered::new();
        let mut hosts = self.hosts.iter();
        let mut failure = None;
        loop {
            attempts.extend(hosts.next().map(|host| self.connect_to(host)));
            let wait = if hosts.len() == 0 { Duration::MAX } else { HEAD_START };
            match timeout(wait, attempts.next()).await {
                Ok(Some(Ok(connected))) => return Ok(connected),
                Ok(Some(Err(error))) => failure = Some(error),
                // None is being tried, and none is left.
                Ok(None) => return Err(failure.unwrap_or_else(silence)),
                Err(_) => {}
            }
        }
    }

    async fn connect_to(&self, host: &Config) -> Result<(Client, Driver), tokio_postgres::Error> {
        timeout(self.timeout, host.connect(self.tls.clone())).await.unwrap_or_else(|_| Err(silence()))
    }
}

/// The error of a host that does not answer. `tokio-postgres` makes it for its own deadlines.
fn silence() -> tokio_postgres::Error {
    tokio_postgres::Error::__private_api_timeout()
}

impl Connect for Target {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async {
            let (client, driver) = Self::connect(self).await?;
            let driver = tokio::spawn(async move {
                // The client returns its errors.
                let _ = driver.await;
            });
            Ok((client, driver))
        })
    }
}

/// The settings of `all` for each of its hosts. If there are several, only one that takes writes will do: the
/// others are standbys, as far as anybody knows.
fn each_host(all: &Config) -> Vec<Config> {
    let count = all.get_hosts().len().max(all.get_hostaddrs().len());
    if count < 2 {
        return vec![all.clone()];
    }
    let of_host = |index: usize| {
        let mut one = Config::new();
        if let Some(host) = all.get_hosts().get(index) {
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(folder) => one.host_path(folder),
            };
        }
        if let Some(address) = all.get_hostaddrs().get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = all.get_ports().get(index).or_else(|| all.get_ports().first()) {
            one.port(*port);
        }
        all.get_user().map(|user| one.user(user));
        all.get_password().map(|password| one.password(password));
        all.get_dbname().map(|name| one.dbname(name));
        all.get_options().map(|options| one.options(options));
        all.get_application_name().map(|name| one.application_name(name));
        all.get_tcp_user_timeout().map(|time| one.tcp_user_timeout(*time));
        all.get_keepalives_interval().map(|time| one.keepalives_interval(time));
        all.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
        one.ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .channel_binding(all.get_channel_binding())
            .keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle())
            .target_session_attrs(match all.get_target_session_attrs() {
                TargetSessionAttrs::Any => TargetSessionAttrs::ReadWrite,
                named => named,
            });
        one
    };
    (0..count).map(of_host).collect()
}

/// What is wrong with TLS, in the words of the configuration; `None` where it is not TLS that failed.
pub fn describe_tls(error: &tokio_postgres::Error) -> Option<String> {
    let error = error.source()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Error>()?;
    let Error::InvalidCertificate(reason) = error else { return Some(format!("TLS failed: {error}")) };
    Some(match reason {
        CertificateError::UnknownIssuer => {
            "no authority of `sslrootcert` signed the database's certificate".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the database's certificate is for another name: {reason}")
        }
        _ => format!("the database's certificate cannot be trusted: {reason}"),
    })
}

fn cannot_read(parameter: &str, file: &Path) -> impl Fn(pem::Error) -> Failure {
    let what = format!("cannot read `{parameter}` {}", file.display());
    move |error| Failure::new(&what, error)
}

/// The certificates in a PEM file, of which there must be one.
fn read_certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = cannot_read(parameter, file);
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(&failed)?;
    if certificates.is_empty() {
        return Err(failed(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_file(file).map_err(cannot_read("sslkey", file))
}

/// Who may sign the certificate of a database.
#[derive(Debug)]
struct Authorities {
    roots: RootCertStore,
    /// A server that signed its own certificate is trusted by having it here.
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    fn read(file: &Path) -> Result<Self, Failure> {
        let certificates = read_certificates("sslrootcert", file)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| {
                Failure::new(format!("cannot use `sslrootcert` {}", file.display()), error)
            })?;
        }
        Ok(Self { roots, certificates })
    }

    fn of_the_system() -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Failure::plain(
                "this system has no certificate authorities: `sslmode=verify-full` needs `sslrootcert`",
            ));
        }
        Ok(Self { roots, certificates: Vec::new() })
    }
}

/// Decides whether the other end is the database.
#[derive(Debug)]
struct Verifier {
    /// `None` takes any certificate.
    authorities: Option<Authorities>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(certificate)?;
        if !authorities.certificates.iter().any(|authority| authority == certificate) {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &authorities.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.check_name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
