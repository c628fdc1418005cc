//! Putting the gateway together: `build` acquires and may fail, `serve` serves and cannot.
//!
//! Everything that can be wrong with a machine or a configuration shows in `build`, before a port answers: stores are
//! opened, plugins compiled, keys read, ports taken. What is left for `serve` is the order of stopping.

mod check;
pub mod commands;
mod config;
mod expiry;
mod greeting;
mod group;
mod health;
mod reload;
mod rest;
mod service;
mod stores;

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

pub use self::config::{Config, ConfigError, Origin, Overrides};
use self::health::Health;
use self::reload::{Parts as Reloadable, Reload};
use crate::buffer::BufferPool;
use crate::drain::{Drain, Drained};
use crate::id::StoreName;
use crate::image::ImageError;
use crate::keys::KeySource;
use crate::metrics::Metrics;
use crate::transfer::{Parts, Transfers};
use crate::{admin, cluster, http, net, plugin, tls};

/// A gateway that has everything it needs.
#[derive(Debug)]
pub struct App {
    config: Config,
    listener: net::Listener,
    admin: admin::Listener,
    gateway: http::Gateway,
    sources: admin::Sources,
    health: Health,
    reload: Reload,
    plugins: Arc<plugin::Plugins>,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("could not make the data directory {} (gateway.data): {source}", path.display())]
    Data { path: std::path::PathBuf, source: std::io::Error },
    #[error("could not open the store {name} ([stores.{name}]): {source}")]
    Store { name: StoreName, source: ImageError },
    /// As above; Ceph's errors name their remedy.
    #[error("could not open the store {name} ([stores.{name}]): {source}")]
    Ceph { name: StoreName, source: ImageError },
    #[error("could not open the store {name} ([stores.{name}]): {source}")]
    Objects { name: StoreName, source: ImageError },
    #[error(transparent)]
    Plugin(#[from] plugin::LoadError),
    #[error(transparent)]
    Group(#[from] group::GroupError),
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error(transparent)]
    Net(#[from] net::NetError),
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    #[error(transparent)]
    Auth(#[from] http::auth::AuthError),
    #[error(transparent)]
    Audit(#[from] http::AuditError),
}

impl BuildError {
    /// What to do about it, as the rest of a sentence; empty where the error says it already.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Data { .. } => "; name a directory that may be made and written, with --data or gateway.data",
            Self::Store { .. } => "; check that the path may be written by this user and that its disk is well",
            Self::Objects { .. } => {
                "; check url, endpoint, region and credentials, and that the bucket is there: rsnap makes none"
            }
            Self::Net(net::NetError::Bind { .. }) => {
                "; stop what listens there, or choose an address and a port of this machine with --listen"
            }
            Self::Admin(admin::AdminError::Bind { .. }) => {
                "; stop what listens there, or choose an address and a port of this machine with --admin"
            }
            Self::Tls(_) | Self::Auth(_) | Self::Audit(_) => "; check the path and its permissions",
            _ => "",
        }
    }
}

impl App {
    /// Opens, compiles, reads and binds. A reload reads `origin` again.
    pub async fn build(config: Config, origin: Origin) -> Result<Self, BuildError> {
        make_data(&config.gateway.data)?;
        let data = &config.gateway.data;
        let metrics = Arc::new(Metrics::new());
        let drain = Drain::new();

        let stores = stores::open(&config.stores, &metrics).await?;
        let pool = BufferPool::new(config.limits.receive_buffers());
        let context = plugin::Context {
            stores: stores.clone(),
            pool: pool.clone(),
            depth: config.limits.depth,
            cache: Some(data.join("compiled")),
            path: config.plugins.search_path(),
            pulled: Some(data.join("plugins")),
            keys: config.etcd.clone().map(|etcd| Arc::new(cluster::Reader::new(etcd)) as Arc<dyn KeySource>),
        };
        let plugins = Arc::new(plugin::Plugins::load(&config.plugins, context).await?);
        plugins.measure(&metrics);
        let health = Health::new(&stores, Arc::clone(&plugins));
        let group = group::find(&config, &stores).await?;
        let load = cluster::load(config.etcd.as_ref());
        let parts = Parts {
            metrics: Arc::clone(&metrics),
            load: load.clone(),
            writer: plugins.writer.clone(),
            policy: plugins.policy.clone(),
            resolver: plugins.resolver.clone(),
            stores,
            pool: pool.clone(),
        };
        let transfers = Arc::new(Transfers::new(parts, &config.limits).with_uploads(&config.uploads));
        sample(&metrics, pool);

        let authority = Arc::new(http::Authority::load(&config.auth, data, config.gateway.site.clone())?);
        let audit = http::Audit::open(&config.auth.audit_path(data))?;
        let renewal = config.tls.load(data, config.listen.advertised_ip()?, config.listen.tls_name.as_deref())?;
        let certificate = renewal.live();
        warn_of_dates(&certificate.now());
        let listener = net::Listener::bind(&config.listen, certificate.clone(), Arc::clone(&metrics)).await?;
        let admin = admin::Listener::bind(&config.admin)?;
        let cluster = match (&config.etcd, group) {
            (Some(etcd), Some(group)) => {
                let shown = certificate.now();
                let (tls_name, tls_sha256) = (shown.name.clone(), shown.sha256.clone());
                let identity = cluster::Identity { address: listener.advertised(), group, tls_name, tls_sha256 };
                cluster::Cluster::start(etcd.clone(), identity, authority.seal(), load, &metrics)?
            }
            _ => cluster::Cluster::alone(listener.advertised(), load),
        };
        let (reload, asker) = Reload::new(Reloadable {
            renewal,
            authority: Arc::clone(&authority),
            cluster: cluster.clone(),
            metrics: Arc::clone(&metrics),
            plugins: Arc::clone(&plugins),
            origin,
        });

        let (running, noticed, told) = (Arc::clone(&transfers), Arc::clone(&plugins), Arc::clone(&plugins));
        let sources = admin::Sources {
            metrics: Arc::clone(&metrics),
            drain: drain.clone(),
            running: Box::new(move || running.running()),
            plugins: Box::new(move || serde_json::to_value(told.info()).unwrap_or_default()),
            fault: fault(health.probe(), cluster.clone()),
            notice: Box::new(move || noticed.notice()),
            reload: Box::new(move || asker.clone().ask().boxed()),
        };
        let gateway = http::Gateway {
            transfers,
            fault: fault(health.probe(), cluster.clone()),
            cluster,
            authority,
            audit,
            drain,
            metrics,
            certificate,
            idle_timeout: config.listen.idle_timeout.0,
        };
        Ok(Self { config, listener, admin, gateway, sources, health, reload, plugins })
    }

    /// What a person who has just started it wants to know.
    #[must_use]
    pub fn greeting(&self) -> String {
        let certificate = &self.gateway.certificate.now().certificate;
        greeting::text(&self.config, self.listener.advertised(), self.admin.address(), certificate)
    }

    /// Serves until SIGTERM or SIGINT, then drains: readiness falls, the listener closes, transfers end or are cut at
    /// the deadline.
    pub async fn serve(self) -> Drained {
        let drain = self.gateway.drain.clone();
        let (notice, timeout) = (self.config.listen.drain_notice.0, self.config.listen.drain_timeout.0);
        let (site, transfers, admin) = (self.config.gateway.site, self.listener.advertised(), self.admin.address());
        let _admin = self.admin.spawn(self.sources);
        let (cluster, offering) = (self.gateway.cluster.clone(), self.gateway.cluster.clone());
        let health = self.health.watch(move |well| offering.offer(well));
        let _reload = self.reload.watch();
        let _expiry = expiry::watch(&self.gateway.transfers);
        let _rest = rest::watch(&self.gateway.transfers, &self.plugins);
        let serving = tokio::spawn(self.listener.serve(http::router(self.gateway), drain.clone()));
        let accepting = serving.abort_handle();
        let draining = drain.clone();
        let _watchdog = service::ready(move || draining.is_stopping() || !accepting.is_finished());
        tracing::info!(%site, %transfers, %admin, "ready");

        stop_signal().await;
        tracing::info!("stopping: no new transfers, {timeout:?} for those that run");
        let _extension = service::stopping();
        drop(health);
        // Whoever is still named must still be there: the listener outlives the key in etcd.
        let noticed = async { tokio::join!(tokio::time::sleep(notice), cluster.withdraw()) };
        let drained = drain.run_after(noticed, timeout).await;
        serving.abort();
        drained
    }
}

/// Why the gateway must not get new work: its own stores and plugins first.
fn fault(
    health: Box<dyn Fn() -> Option<String> + Send + Sync>,
    cluster: cluster::Cluster,
) -> Box<dyn Fn() -> Option<String> + Send + Sync> {
    Box::new(move || health().or_else(|| cluster.fault()))
}

fn make_data(path: &std::path::Path) -> Result<(), BuildError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| BuildError::Data { path: path.to_owned(), source })
}

/// It serves all the same: some callers pin the certificate, and the rest is told by theirs.
fn warn_of_dates(identity: &tls::Identity) {
    if !identity.is_valid_at(std::time::SystemTime::now()) {
        let (file, not_after) = (identity.certificate.display(), humantime::format_rfc3339_seconds(identity.not_after));
        tracing::error!(%file, %not_after, "the certificate is not valid now: callers will refuse it");
    }
}

fn sample(metrics: &Metrics, pool: BufferPool) {
    let capacity = i64::try_from(pool.capacity()).unwrap_or(i64::MAX);
    metrics.sample("buffers", "Buffers of 1 MiB that transfers may use together", move || capacity);
    let in_use = move || i64::try_from(pool.in_use()).unwrap_or(i64::MAX);
    metrics.sample("buffers_in_use", "Buffers of 1 MiB that hold data of transfers now", in_use);
}

/// Done at the first SIGTERM or SIGINT. A second one ends the process at once, as operators expect.
async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("install signal handlers: SIGTERM will end the process without a drain");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: ending without waiting for transfers");
        std::process::exit(1);
    });
}
