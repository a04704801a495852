//! `matriarch serve`: runs a node from start to shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use super::listen::Bound;
use crate::admin::monitoring;
use crate::app::App;
use crate::base::failure::Failure;
use crate::base::memory::Memory;
use crate::config::{Api, Config, Listener, LogFormat, RegistrationMode};
use crate::database::targets::Database;
use crate::database::{Db, Target, heartbeat, housekeeping, migrate, pooler};
use crate::http::{Connections, Hosts};
use crate::hub::Hub;
use crate::hub::{announce, poll};
use crate::{admin, client, federation, http};

/// How many file descriptors are for other things than connections of clients and the database's pool:
/// requests to other servers, DNS, files.
const OTHER_DESCRIPTORS: usize = 256;

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), Failure> {
    let metrics =
        crate::base::metrics::install().map_err(|error| Failure::new("cannot keep metrics", error))?;
    let mut database = Database::open(&config, false).await?;
    let served = match &mut database.embedded {
        None => run_on(config, &database.api, &database.listen, database.migrate.as_ref(), metrics).await,
        Some(embedded) => {
            let (api, listen, migrate) = (&database.api, &database.listen, database.migrate.as_ref());
            tokio::select! {
                served = run_on(config, api, listen, migrate, metrics) => served,
                ended = embedded.ended() => Err(ended),
            }
        }
    };
    database.close().await;
    served
}

async fn run_on(
    config: Config,
    api: &Target,
    listen: &Target,
    migrate: Option<&Target>,
    metrics: PrometheusHandle,
) -> Result<(), Failure> {
    if let Some(target) = migrate {
        migrate::migrate(target, &config.server_name).await?;
    }
    migrate::check(api, &config.server_name).await?;
    pooler::check(api).await?;
    let db = Db::new(api.clone(), &config.database).map_err(Failure::plain)?;
    let app = App::new(config, db.clone(), Hub::new())?;

    let limits = &app.config.limits;
    let connections = Connections::new(max_connections(&app.config), limits.max_connections_per_address);
    let mut listeners = Vec::new();
    for listener in &app.config.listeners {
        let router = router(listener, &app, &metrics);
        listeners.push(Bound::new(listener, limits, connections.clone(), router).await?);
    }
    // They end when the set is dropped, before the database stops.
    let mut background = JoinSet::new();
    background.spawn(announce::run(app.hub.clone(), listen.clone(), db.clone()));
    background.spawn(poll::run(app.hub.clone(), db.clone()));
    background.spawn(heartbeat::run(db.clone(), api.clone()));
    background.spawn(housekeeping::run(db.clone()));
    background.spawn(app.last_seen.clone().run(db.clone()));
    background.spawn(app.presence.clone().run(db.clone(), app.hub.clone()));
    background.spawn(federation::profiles::run(app.federation.clone()));
    background.spawn(keep_metrics(metrics, app.memory.clone()));
    if app.federation.is_enabled() {
        background.spawn(app.outgoing.clone().run());
        background.spawn(app.inbound.clone().run());
        background.spawn(app.device_lists.clone().run());
        background.spawn(app.partial_joins.clone().run());
    }
    let served = serve(&app, listeners).await;
    background.shutdown().await;
    app.inbound.release_all().await;
    app.history.release_all().await;
    app.partial_joins.release_all().await;
    app.device_lists.release_all().await;
    app.outgoing.release().await;
    app.last_seen.write(&db).await;
    db.close();
    served
}

/// Raises the limit of file descriptors as far as the system lets this process. Returns how many connections
/// there are descriptors for, at most as many as the configuration allows.
fn max_connections(config: &Config) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!(%error, "the limit of file descriptors cannot be raised");
            limit = getrlimit(Resource::Nofile);
        }
    }
    let descriptors = limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let wanted = config.limits.max_connections;
    let possible = descriptors.saturating_sub(OTHER_DESCRIPTORS + config.database.pool_size).max(1);
    let connections = wanted.min(possible);
    info!(file_descriptors = descriptors, connections, "the most connections at the same time");
    if possible < wanted {
        warn!(
            file_descriptors = descriptors,
            wanted, "there are too few file descriptors for `limits.max_connections`"
        );
    }
    connections
}

/// Prints where the server is reachable, if the log format is text.
fn welcome(config: &Config, listeners: &[Bound]) {
    for listener in listeners {
        info!(url = listener.url(), server_name = config.server_name, "ready");
    }
    let open = config.registration.mode() == RegistrationMode::Open;
    if open {
        warn!("anybody who reaches this node may register an account (`registration.mode` is `open`)");
    }
    let (Some(url), true) = (&config.public_base_url, open && config.is_embedded()) else { return };
    if config.log.format == LogFormat::Json {
        return;
    }
    println!(
        r#"
Matriarch serves {server_name} at {url}
with an embedded PostgreSQL, whose data are in {data}

  To register, from this machine only:
    curl {url}/_matrix/client/v3/register \
      -d '{{"username": "alice", "password": "wonderland", "auth": {{"type": "m.login.dummy"}}}}'
  To chat, give {url} as the homeserver to a Matrix client on this machine,
  such as Element Desktop, nheko, Fractal or gomuks.
"#,
        server_name = config.server_name,
        data = config.data_dir.display(),
    );
}

/// The endpoints of `listener`.
fn router(listener: &Listener, app: &App, metrics: &PrometheusHandle) -> Router {
    let mut router = Router::new();
    if listener.serves(Api::Client) {
        router = router.merge(client::routes());
    }
    if listener.serves(Api::Federation) && app.federation.is_enabled() {
        router = router.merge(federation::api::routes());
    }
    if listener.serves(Api::Admin) {
        router = router.merge(admin::routes());
    }
    if listener.serves(Api::Health) {
        router = router.merge(monitoring::health_routes());
    }
    if listener.serves(Api::Metrics) {
        router = router.merge(monitoring::metrics_routes(metrics.clone()));
    }
    let hosts = Hosts::of(listener, &app.config);
    http::finish(router, app.clone(), hosts, listener.serves(Api::Client))
}

async fn serve(app: &App, listeners: Vec<Bound>) -> Result<(), Failure> {
    let signals = |kind| signal(kind).map_err(|error| Failure::new("cannot watch for signals", error));
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let graceful = Arc::new(GracefulShutdown::new());
    let stop = watch::Sender::new(false);
    let mut accepting = Vec::new();
    welcome(&app.config, &listeners);
    for listener in listeners {
        accepting.push(tokio::spawn(listener.accept(Arc::clone(&graceful), stop.subscribe())));
    }

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("shutting down");
    app.hub.drain();
    stop.send_replace(true);
    for task in accepting {
        // A listener that panicked does not accept connections either.
        let _ = task.await;
    }
    let Ok(graceful) = Arc::try_unwrap(graceful) else { return Ok(()) };
    let grace = Duration::from_secs(app.config.limits.shutdown_grace);
    let open = graceful.count();
    tokio::select! {
        ended = timeout(grace, graceful.shutdown()) => match ended {
            Ok(()) => info!(connections = open, "all requests are answered"),
            Err(_) => warn!(grace_s = grace.as_secs(), "some requests were still running"),
        },
        // A second signal stops the node at once.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Histograms grow until they are rendered, so do it even if no Prometheus asks.
async fn keep_metrics(metrics: PrometheusHandle, memory: Memory) {
    let mut ticks = interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        crate::base::metrics::memory_in_flight(memory.total());
        metrics.run_upkeep();
    }
}
