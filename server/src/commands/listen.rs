//! Accepts connections: plain or TLS, HTTP/1.1 or HTTP/2, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::base::failure::Failure;
use crate::config::{Listener, Tls};
use crate::http::Peer;

/// A bound listener that does not accept connections yet.
pub struct Bound {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    behind_proxy: bool,
    head_timeout: Duration,
    router: Router,
}

impl Bound {
    /// Binds the address and reads the certificate. `head_timeout` is for the head of a request and for the
    /// TLS handshake. `router` contains the endpoints to serve.
    pub async fn new(config: &Listener, head_timeout: Duration, router: Router) -> Result<Self, Failure> {
        let address = config.socket_address();
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::new(format!("cannot listen on {address}"), error))?;
        let tls = config.tls.as_ref().map(tls_acceptor).transpose()?;
        Ok(Self { listener, tls, behind_proxy: config.trust_forwarded_for, head_timeout, router })
    }

    /// The URL of this listener, with the bound port.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.listener
            .local_addr()
            .map_or_else(|_| scheme.to_owned(), |address| format!("{scheme}://{address}"))
    }

    /// Accepts connections until `stop` is true. Each connection is served in a task, which `graceful`
    /// watches.
    pub async fn accept(self, graceful: Arc<GracefulShutdown>, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let peer = Peer { address: address.ip(), is_proxy: self.behind_proxy };
                    let (tls, router) = (self.tls.clone(), self.router.clone());
                    let serve = serve(stream, peer, tls, self.head_timeout, router, graceful.watcher());
                    tokio::spawn(serve);
                }
                Err(error) => {
                    // Probably out of file descriptors: give connections time to end.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    head_timeout: Duration,
    router: Router,
    watcher: Watcher,
) {
    // Answers are small and written at once, so delaying them gains nothing.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve_stream(stream, peer, head_timeout, router, watcher).await,
        Some(tls) => match timeout(head_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(stream, peer, head_timeout, router, watcher).await,
            Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
            Err(_) => debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve_stream<S>(stream: S, peer: Peer, head_timeout: Duration, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(head_timeout);
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(peer);
        request
    });
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        debug!(error, "a connection ended early");
    }
}

/// Checks each listener's certificate and key. The error names the configuration key and the reason.
pub fn check_tls(listeners: &[Listener]) -> Result<(), Failure> {
    for (index, listener) in listeners.iter().enumerate() {
        if let Some(tls) = &listener.tls {
            let key = format!("configuration key `listeners.{index}.tls`");
            tls_acceptor(tls).map_err(|error| Failure::new(key, error))?;
        }
    }
    Ok(())
}

fn tls_acceptor(tls: &Tls) -> Result<TlsAcceptor, Failure> {
    let certificate = &tls.certificate;
    let refuse = |what: &str, path: &std::path::Path| format!("cannot use the {what} {}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| Failure::new(refuse("certificate", certificate), error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| Failure::new(refuse("key", &tls.key), error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| Failure::new(refuse("certificate", certificate), error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
