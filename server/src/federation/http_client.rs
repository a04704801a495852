//! Requests to other servers, and to identity servers.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use matriarch_rules::canonical_json::to_canonical_lenient;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use reqwest::{Response, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use self::discovery::{Authority, Resolver};
pub use self::error::FederationError;
use self::well_known::WellKnown;
use crate::base::error::ApiError;
use crate::base::failure::Failure;
use crate::base::json_size::JsonSize;
use crate::base::limit;
use crate::base::memory::{Holder, Memory, Reservation};
use crate::base::raw_object::RawObject;
use crate::config::{self, Config};
use crate::database::Db;

mod addresses;
mod discovery;
mod error;
mod tls;
mod well_known;

/// The longest error body that is read, in bytes.
const MAX_ERROR: usize = 64 * 1024;
/// The most redirects of a `.well-known` request.
const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WELL_KNOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout for servers that are no homeservers.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer of such servers that is read, in bytes.
const MAX_FETCHED: usize = 256 * 1024;
/// The most JSON objects and arrays of an answer: one for so many of the bytes that it may have, but as many
/// as this. Those of events and device keys are longer.
const BYTES_OF_OBJECT: usize = 64;
const MIN_OBJECTS: usize = 2000;

const SIGN_REQUEST: &str = "select matriarch.sign_request($1, $2, $3, $4) as authorization";

/// A request to another server.
#[derive(Debug)]
pub struct Request<'r> {
    pub method: Method,
    /// The server's name, as in user ids.
    pub destination: &'r str,
    /// The path, percent-encoded, and the query.
    pub path: &'r str,
    pub body: Option<&'r Value>,
    /// The longest answer that is read, in bytes.
    pub max_answer: usize,
    pub timeout: Duration,
}

/// The JSON object of an answer, as a map or as text, and its part in the budget of memory.
pub struct Answer<T = Map<String, Value>> {
    json: T,
    reservation: Reservation,
}

impl<T> Answer<T> {
    /// The JSON, and its part in the budget, which is given back when that is dropped.
    pub fn into_parts(self) -> (T, Reservation) {
        (self.json, self.reservation)
    }
}

impl Answer<RawObject> {
    fn parsed(self) -> Answer {
        Answer { json: self.json.object(), reservation: self.reservation }
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.json
    }
}

impl<T> DerefMut for Answer<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.json
    }
}

impl From<Answer> for Value {
    /// For callers that are done with it soon: gives the memory back.
    fn from(answer: Answer) -> Self {
        Self::Object(answer.json)
    }
}

impl From<Answer> for Map<String, Value> {
    /// As for [`Value`].
    fn from(answer: Answer) -> Self {
        answer.json
    }
}

/// The HTTP client for other servers. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

struct Shared {
    /// Signs requests.
    db: Db,
    /// For answers.
    memory: Memory,
    server_name: String,
    config: config::Federation,
    resolver: Resolver<TokioResolver>,
    /// For host names with a port.
    direct: reqwest::Client,
    /// For host names without one, which are looked up by SRV.
    servers: reqwest::Client,
    /// For `.well-known`, which may redirect.
    well_known_http: reqwest::Client,
    well_known: WellKnown,
}

impl HttpClient {
    /// Reads certificates and the system's DNS configuration.
    pub fn new(config: &Config, db: Db, memory: Memory) -> Result<Self, Failure> {
        let federation = &config.federation;
        if !federation.verify_certificates {
            warn!(
                "certificates of other servers are not verified (`federation.verify_certificates` is false)"
            );
        }
        let dns = TokioResolver::builder_tokio()
            .and_then(ResolverBuilder::build)
            .map_err(|error| Failure::new("cannot read the system's DNS configuration", error))?;
        let resolver = Resolver::new(dns, federation.allow_private_addresses);
        let tls = tls::client_config(&roots(federation)?, federation.verify_certificates)?;
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(concat!("Matriarch/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(redirect::Policy::none())
                .https_only(true)
                .http1_only()
                .no_proxy()
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Failure::new("cannot make an HTTP client", error))
        };
        let hosts = HostResolver(resolver.clone());
        let shared = Shared {
            db,
            memory,
            server_name: config.server_name.clone(),
            config: federation.clone(),
            direct: build(builder().dns_resolver(Arc::new(hosts)))?,
            servers: build(builder().dns_resolver(Arc::new(ServerResolver(resolver.clone()))))?,
            well_known_http: build(
                builder()
                    .dns_resolver(Arc::new(HostResolver(resolver.clone())))
                    .redirect(redirect_policy(resolver.clone()))
                    .timeout(WELL_KNOWN_TIMEOUT),
            )?,
            resolver,
            well_known: WellKnown::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The configured timeout of requests to other servers.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.shared.config.request_timeout)
    }

    /// The notaries: servers to ask for the keys of servers that do not answer.
    pub fn notaries(&self) -> &[String] {
        &self.shared.config.notaries
    }

    /// Whether the configuration allows federation with that server.
    pub fn admits(&self, server_name: &str) -> bool {
        self.shared.config.admits(server_name)
    }

    /// Sends a request with this server's signature. Returns the JSON object of a 200 answer, with `null` for
    /// what cannot be read.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, FederationError> {
        Ok(self.send_for_raw(request).await?.parsed())
    }

    /// As [`Self::send`], for answers with events, which are read one by one from their texts.
    pub async fn send_for_raw(&self, request: Request<'_>) -> Result<Answer<RawObject>, FederationError> {
        let (server, max_answer) = (request.destination, request.max_answer);
        let content = request.body.map(to_canonical_lenient);
        let response = self.begin_signed(request, content).await?;
        self.read_object(server, response, max_answer).await
    }

    /// As [`Self::send_for_raw`], for endpoints of version 1 that answer `[200, {…}]`.
    pub async fn send_v1(&self, request: Request<'_>) -> Result<Answer<RawObject>, FederationError> {
        let (server, max_answer) = (request.destination, request.max_answer);
        let content = request.body.map(to_canonical_lenient);
        let response = self.begin_signed(request, content).await?;
        let (text, reservation) = self.read_text(server, response, max_answer).await?.into_parts();
        match serde_json::from_str::<Vec<&RawValue>>(&text).ok().as_deref() {
            Some([_, object]) => RawObject::parse(object.get().to_owned())
                .map(|json| Answer { json, reservation })
                .ok_or_else(|| FederationError::bad_answer(server, "it has no JSON object")),
            _ => Err(FederationError::bad_answer(server, "it is not a pair")),
        }
    }

    /// Sends a body that is canonical JSON already, but for its numbers, instead of the request's. Whatever
    /// the body of a 200 answer is, the request was accepted: it is read if it can be.
    pub async fn send_canonical(
        &self,
        request: Request<'_>,
        content: String,
    ) -> Result<RawObject, FederationError> {
        let (server, max_answer) = (request.destination, request.max_answer);
        let response = self.begin_signed(request, Some(content)).await?;
        match self.read_object(server, response, max_answer).await {
            Err(FederationError::BadAnswer { .. }) => Ok(RawObject::default()),
            answer => answer.map(|answer| answer.json),
        }
    }

    /// As [`Self::send`] for long answers: passes on the body of a 200 answer in chunks as it arrives. Ends
    /// early if the receiver of `chunks` is dropped. The answer must begin within `begin_timeout`.
    pub async fn stream(
        &self,
        request: Request<'_>,
        begin_timeout: Duration,
        chunks: mpsc::Sender<Bytes>,
    ) -> Result<(), FederationError> {
        let (server, max_answer) = (request.destination, request.max_answer);
        let mut left = max_answer;
        let content = request.body.map(to_canonical_lenient);
        let begun = timeout(begin_timeout, self.begin_signed(request, content)).await;
        let silent = |_| FederationError::unreachable(server, "it does not begin to answer");
        let mut response = begun.map_err(silent)??;
        if response.status() != StatusCode::OK {
            return self.read_object(server, response, MAX_ERROR).await.map(drop);
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(server, &error))? {
            left = left.checked_sub(chunk.len()).ok_or_else(|| {
                warn!(server, limit = "answer", bytes = max_answer, "an answer is too long");
                crate::base::metrics::federation_limit("answer");
                FederationError::bad_answer(server, format!("it is longer than {max_answer} bytes"))
            })?;
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a request with this signed body, which is canonical JSON. Its numbers may be any, written as
    /// servers in Python write them: those check the signature over what they have parsed.
    async fn begin_signed(
        &self,
        request: Request<'_>,
        content: Option<String>,
    ) -> Result<Response, FederationError> {
        let target = self.target(&request).await?;
        let uri = match target.url.query() {
            Some(query) => format!("{}?{query}", target.url.path()),
            None => target.url.path().to_owned(),
        };
        let row = self
            .shared
            .db
            .query_opt(SIGN_REQUEST, &[&request.method.as_str(), &uri, &request.destination, &content])
            .await?
            .ok_or_else(ApiError::internal)?;
        let authorization: String = row.get("authorization");
        self.begin(target, request, content, Some(authorization)).await
    }

    /// As [`Self::send`] without a signature, for requests of signing keys.
    pub async fn send_unsigned(&self, request: Request<'_>) -> Result<Answer, FederationError> {
        let target = self.target(&request).await?;
        let (server, max_answer) = (request.destination, request.max_answer);
        let content = request.body.map(Value::to_string);
        let response = self.begin(target, request, content, None).await?;
        Ok(self.read_object(server, response, max_answer).await?.parsed())
    }

    /// Sends an HTTPS request to a server that is no homeserver, such as an identity server. Returns the JSON
    /// object of a 200 answer.
    pub async fn fetch(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
        bearer: Option<&str>,
    ) -> Result<Answer, FederationError> {
        let parsed = Url::parse(url).ok();
        let server = parsed.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
        let unreachable = |reason: &str| FederationError::unreachable(&server, reason);
        let url = parsed.ok_or_else(|| unreachable("this is no URL"))?;
        if !self.shared.resolver.admits_url(&url) {
            return Err(unreachable("its address is private"));
        }
        let target = Target { http: &self.shared.direct, host_header: host_header(&url), url };
        let request = Request {
            method,
            destination: &server,
            path: "",
            body: None,
            max_answer: MAX_FETCHED,
            timeout: FETCH_TIMEOUT,
        };
        let authorization = bearer.map(|token| format!("Bearer {token}"));
        let response = self.begin(target, request, body.map(Value::to_string), authorization).await?;
        Ok(self.read_object(&server, response, MAX_FETCHED).await?.parsed())
    }

    /// Sends a request. Returns the answer, whose body is not read yet.
    async fn begin(
        &self,
        target: Target<'_>,
        request: Request<'_>,
        content: Option<String>,
        authorization: Option<String>,
    ) -> Result<Response, FederationError> {
        let mut http = target
            .http
            .request(request.method, target.url)
            .header(HOST, target.host_header)
            .timeout(request.timeout);
        if let Some(authorization) = authorization {
            http = http.header(AUTHORIZATION, authorization);
        }
        if let Some(content) = content {
            http = http.header(CONTENT_TYPE, "application/json").body(content);
        }
        http.send().await.map_err(|error| unreachable(request.destination, &error))
    }

    /// Reads a whole answer. Returns the JSON object of a 200 answer.
    async fn read_object(
        &self,
        server: &str,
        response: Response,
        max_answer: usize,
    ) -> Result<Answer<RawObject>, FederationError> {
        let (text, reservation) = self.read_text(server, response, max_answer).await?.into_parts();
        let json = RawObject::parse(text);
        let json = json.ok_or_else(|| FederationError::bad_answer(server, "it is not a JSON object"))?;
        Ok(Answer { json, reservation })
    }

    /// Reads a whole answer. Returns the text of a 200 answer.
    async fn read_text(
        &self,
        server: &str,
        mut response: Response,
        max_answer: usize,
    ) -> Result<Answer<String>, FederationError> {
        let bad = |limit: &'static str, reason: String| {
            limit::reached(limit, server);
            FederationError::bad_answer(server, reason)
        };
        let status = response.status();
        let mut reservation = self.shared.memory.reserve(Holder::Server(server.to_owned()));
        let (mut body, mut size) = (Vec::new(), JsonSize::default());
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(server, &error))? {
            size.read(&chunk);
            if size.bytes > max_answer {
                return Err(bad("answer", format!("it is longer than {max_answer} bytes")));
            }
            if size.containers > MIN_OBJECTS.max(max_answer / BYTES_OF_OBJECT) {
                return Err(bad("answer_objects", "it has too many JSON objects".to_owned()));
            }
            if let Err(full) = reservation.grow(size.memory()) {
                return Err(bad(full.name(), "there is no memory for it now".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body);
        if status == StatusCode::OK {
            let json = text.map_err(|_| FederationError::bad_answer(server, "it is not UTF-8"))?;
            return Ok(Answer { json, reservation });
        }
        let mut extra = text.ok().and_then(RawObject::parse).unwrap_or_default().object();
        let mut text = |key: &str| {
            let text = extra.remove(key);
            let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
            text.chars().take(500).collect::<String>()
        };
        let (errcode, error) = (text("errcode"), text("error"));
        // Older servers have only the header.
        let seconds =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        if let Some(seconds) = seconds {
            extra.entry("retry_after_ms").or_insert_with(|| (u64::from(seconds) * 1000).into());
        }
        Err(FederationError::Refused { server: server.to_owned(), status, errcode, error, extra })
    }

    /// Resolves the server name of a request.
    async fn target(&self, request: &Request<'_>) -> Result<Target<'_>, FederationError> {
        let Shared { resolver, direct, servers, well_known, well_known_http, .. } = &*self.shared;
        let name = request.destination;
        let not_admitted = || FederationError::NotAdmitted(name.to_owned());
        if !self.admits(name) || name == self.shared.server_name {
            return Err(not_admitted());
        }
        let mut authority = Authority::parse(name).ok_or_else(not_admitted)?;
        if authority.is_open()
            && let Some(delegated) = well_known.delegated(well_known_http, &authority.host).await
        {
            authority = delegated;
        }
        let (http, origin) = match authority.is_open() {
            true => (servers, format!("https://{}", authority.host)),
            false => (direct, format!("https://{}:{}", authority.host, authority.port_or_default())),
        };
        let url = Url::parse(&format!("{origin}{}", request.path))
            .map_err(|error| FederationError::unreachable(name, error.to_string()))?;
        if !resolver.admits_url(&url) {
            return Err(FederationError::unreachable(name, "its address is private"));
        }
        Ok(Target { http, url, host_header: authority.host_header() })
    }
}

fn host_header(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn unreachable(server: &str, error: &reqwest::Error) -> FederationError {
    FederationError::unreachable(server, reason(error))
}

/// The URL of a request, and the client that sends it.
struct Target<'c> {
    http: &'c reqwest::Client,
    url: Url,
    host_header: String,
}

/// The message of an error's innermost cause: the outer ones say little.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Checks redirects to IP literals, as these bypass the resolver.
fn redirect_policy(resolver: Resolver<TokioResolver>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error("too many redirects");
        }
        if resolver.admits_url(attempt.url()) {
            attempt.follow()
        } else {
            attempt.error("a redirect to a private address")
        }
    })
}

fn roots(config: &config::Federation) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = &config.ca_file {
        let failure = |error| Failure::new(format!("cannot read {}", path.display()), error);
        for certificate in CertificateDer::pem_file_iter(path).map_err(failure)? {
            roots.push(certificate.map_err(failure)?);
        }
    }
    Ok(roots)
}

/// Resolves host names; the port is in the URL.
struct HostResolver(Resolver<TokioResolver>);

/// Resolves host names of servers without a port, by SRV records.
struct ServerResolver(Resolver<TokioResolver>);

impl Resolve for HostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        // With port 0, reqwest uses the port of the URL.
        Box::pin(async move { found(resolver.addresses(name.as_str(), 0).await) })
    }
}

impl Resolve for ServerResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move { found(resolver.servers(name.as_str()).await) })
    }
}

fn found(addresses: io::Result<Vec<SocketAddr>>) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Box::new(addresses?.into_iter()))
}
