//! What is read again while the gateway runs: the certificate when its files change, and on SIGHUP the certificate,
//! the tokens and the ticket keys.
//!
//! Tokens and keys wait for the signal: they change on all gateways of a site, and only the operator knows when all
//! of them have the new ones. The rest of the configuration is read at a start only; a stop loses no transfer.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::service;
use crate::cluster::Cluster;
use crate::http::Authority;
use crate::metrics::{Metrics, Subject};
use crate::tls::{Identity, Renewal, TlsError};

/// Between two looks at the files of the certificate. A renewed one is in use after two of them.
const INTERVAL: Duration = Duration::from_secs(2);

/// Everything that can be read again.
#[derive(Debug)]
pub(super) struct Reload {
    renewal: Renewal,
    authority: Arc<Authority>,
    cluster: Cluster,
    metrics: Arc<Metrics>,
}

impl Reload {
    pub(super) fn new(renewal: Renewal, authority: Arc<Authority>, cluster: Cluster, metrics: Arc<Metrics>) -> Self {
        let live = renewal.live();
        let not_after = move || {
            let since = live.now().not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        };
        let help = "End of the validity of the certificate in use, in seconds since the Unix epoch";
        metrics.sample("certificate_not_after_seconds", help, not_after);
        Self { renewal, authority, cluster, metrics }
    }

    /// Looks and listens until the answer is dropped.
    pub(super) fn watch(self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        match signal(SignalKind::hangup()) {
            Ok(hangup) => drop(tasks.spawn(self.run(hangup))),
            Err(error) => tracing::error!(%error, "install the handler of SIGHUP: nothing will be read again"),
        }
        tasks
    }

    async fn run(mut self, mut hangup: Signal) {
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            // A disk that hangs must hang a thread that nobody needs.
            let done = tokio::task::spawn_blocking(move || {
                if asked {
                    self.all()
                } else {
                    self.look()
                }
                self
            });
            match done.await {
                Ok(reload) => self = reload,
                Err(error) => return tracing::error!(%error, "read certificate and secrets again"),
            }
        }
    }

    fn look(&mut self) {
        if let Some(renewed) = self.renewal.look() {
            self.tell(renewed);
        }
    }

    fn all(&mut self) {
        service::reloading();
        let renewed = self.renewal.reload();
        self.tell(renewed);
        let reloaded = self.authority.reload();
        self.metrics.reloaded(Subject::Secrets, reloaded.is_ok());
        match reloaded {
            Ok(()) => {
                self.cluster.trust(self.authority.seal());
                tracing::info!("tokens and ticket keys are read again");
            }
            Err(error) => tracing::error!(%error, "read tokens and ticket keys again: the old ones stay in use"),
        }
        service::serving();
    }

    fn tell(&self, renewed: Result<Arc<Identity>, TlsError>) {
        self.metrics.reloaded(Subject::Certificate, renewed.is_ok());
        match renewed {
            Ok(identity) => {
                self.cluster.certificate(&identity.name, &identity.sha256);
                let not_after = humantime::format_rfc3339_seconds(identity.not_after);
                tracing::info!(sha256 = identity.sha256, %not_after, "the certificate is read again");
            }
            Err(error) => tracing::error!(%error, "read the certificate again: the old one stays in use"),
        }
    }
}
