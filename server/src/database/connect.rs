//! How to connect to a database: address, user, and TLS as `sslmode` and its companions say.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::base::failure::Failure;
use crate::config::{PostgresUrl, Trust};

/// The connection that moves the bytes of a [`Client`], plain or by TLS.
pub type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// How to connect to a database. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    /// Address, user and options, for what connects by itself.
    pub config: Config,
    /// TLS, for what connects by itself. `config` says whether it is used.
    pub tls: MakeRustlsConnect,
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
        Ok(Self { config: url.config, tls: MakeRustlsConnect::new(tls) })
    }

    /// A target that is reached without TLS.
    pub fn without_tls(mut config: Config) -> Result<Self, Failure> {
        config.ssl_mode(SslMode::Disable);
        Self::new(PostgresUrl { config, trust: Trust::Any, identity: None })
    }

    /// Opens a connection. Its driver must be polled for the client to get answers.
    pub async fn connect(&self) -> Result<(Client, Driver), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
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
