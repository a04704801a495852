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
use crate::config::{Limits, Listener, Tls};
use crate::http::{Connection, Connections, Peer, Stalls};

/// How many bytes of bodies an HTTP/2 connection, and a request on it, may send before the node reads them.
const CONNECTION_WINDOW: u32 = 128 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;

/// A bound listener that does not accept connections yet.
pub struct Bound {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    behind_proxy: bool,
    limits: Limits,
    connections: Connections,
    router: Router,
}

impl Bound {
    /// Binds the address and reads the certificate. `connections` are those of all listeners. `router`
    /// contains the endpoints to serve.
    pub async fn new(
        config: &Listener,
        limits: &Limits,
        connections: Connections,
        router: Router,
    ) -> Result<Self, Failure> {
        let address = config.socket_address();
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::new(format!("cannot listen on {address}"), error))?;
        let tls = config.tls.as_ref().map(tls_acceptor).transpose()?;
        let (behind_proxy, limits) = (config.trust_forwarded_for, limits.clone());
        Ok(Self { listener, tls, behind_proxy, limits, connections, router })
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
                    // What is over a limit is closed at once: if it waited, others would wait behind it.
                    let admitted = self.connections.admit(address.ip(), self.behind_proxy);
                    let Some(connection) = admitted else { continue };
                    let peer = Peer { address: address.ip(), is_proxy: self.behind_proxy };
                    let served = Served {
                        peer,
                        limits: self.limits.clone(),
                        router: self.router.clone(),
                        watcher: graceful.watcher(),
                        _connection: connection,
                    };
                    tokio::spawn(served.serve(stream, self.tls.clone()));
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

/// A connection.
struct Served {
    peer: Peer,
    limits: Limits,
    router: Router,
    watcher: Watcher,
    _connection: Connection,
}

impl Served {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are small and written at once, so delaying them gains nothing.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.serve_stream(stream).await,
            Some(tls) => match timeout(self.limits.head_timeout(), tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve_stream(stream).await,
                Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                Err(_) => debug!("a TLS handshake took too long"),
            },
        }
    }

    async fn serve_stream<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let head_timeout = self.limits.head_timeout();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_buf_size(self.limits.max_head_size);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(head_timeout)
            .max_concurrent_streams(self.limits.max_streams)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW);
        let peer = self.peer;
        let service = self.router.map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(peer);
            request
        });
        let stream = TokioIo::new(Stalls::new(stream, head_timeout));
        let connection = builder.serve_connection(stream, TowerToHyperService::new(service)).into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            debug!(error, "a connection ended early");
        }
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
