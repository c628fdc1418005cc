//! What is read again while the gateway runs: the certificate, and who vouches for those of clients, when the files
//! change, and on SIGHUP or when the admin listener is asked, these, the tokens, the ticket keys and the plugins.
//!
//! Tokens, keys and plugins wait for the request: they change on all gateways of a site, and only the operator knows when
//! all of them have the new ones. Of the configuration file only `[plugins]` is read again; what the rest says comes with
//! a start, and a stop loses no transfer. Each part is taken or left for itself: a plugin that is wrong does not keep a
//! renewed certificate from coming into use.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Origin, service};
use crate::api::Reread;
use crate::cluster::Cluster;
use crate::http::Authority;
use crate::metrics::{Metrics, Subject};
use crate::plugin::Plugins;
use crate::tls::{Authorities, Clients, ClientsRenewal, Identity, Renewal, TlsError};

/// Between two looks at the files of the certificate. A renewed one is in use after two of them.
const INTERVAL: Duration = Duration::from_secs(2);
/// Requests that wait while one is at work.
const REQUESTS: usize = 16;

/// Everything that can be read again.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) renewal: Renewal,
    pub(super) authority: Arc<Authority>,
    pub(super) cluster: Cluster,
    pub(super) metrics: Arc<Metrics>,
    pub(super) plugins: Arc<Plugins>,
    pub(super) origin: Origin,
}

/// Where the answer to a request goes.
type Answer = oneshot::Sender<Vec<Reread>>;

/// Asks for everything to be read again, and tells what became of it; nothing at the end of the gateway.
#[derive(Debug, Clone)]
pub(super) struct Asker(mpsc::Sender<Answer>);

impl Asker {
    pub(super) async fn ask(self) -> Vec<Reread> {
        let (send, receive) = oneshot::channel();
        match self.0.send(send).await {
            Ok(()) => receive.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}

/// What reads everything again.
#[derive(Debug)]
pub(super) struct Reload {
    parts: Parts,
    asked: mpsc::Receiver<Answer>,
}

fn seconds(moment: SystemTime) -> i64 {
    i64::try_from(moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

fn measure_lists(metrics: &Metrics, clients: Clients) {
    if clients.now().revocations_until.is_some() {
        let until = move || clients.now().revocations_until.map(seconds).unwrap_or_default();
        let help = "End of the first list of revoked client certificates that ends, in seconds since the Unix epoch";
        metrics.sample("client_revocations_until_seconds", help, until);
    }
}

/// It serves all the same: tokens and tickets do not need the lists.
fn warn_of_lists(authorities: &Authorities) {
    if !authorities.are_lists_current(SystemTime::now()) {
        tracing::error!("a list of revoked client certificates has ended: its authority's certificates are refused");
    }
}

/// Why something is read again.
enum Reason {
    Time,
    Signal,
    Request(Answer),
}

impl Reload {
    pub(super) fn new(parts: Parts) -> (Self, Asker) {
        let live = parts.renewal.live();
        if let Some(clients) = live.clients() {
            warn_of_lists(&clients.now());
            measure_lists(&parts.metrics, clients.clone());
        }
        let help = "End of the validity of the certificate in use, in seconds since the Unix epoch";
        parts.metrics.sample("certificate_not_after_seconds", help, move || seconds(live.now().not_after));
        let (ask, asked) = mpsc::channel(REQUESTS);
        (Self { parts, asked }, Asker(ask))
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

    async fn run(self, mut hangup: Signal) {
        let Self { mut parts, mut asked } = self;
        loop {
            let reason = tokio::select! {
                _ = hangup.recv() => Reason::Signal,
                Some(answer) = asked.recv() => Reason::Request(answer),
                () = tokio::time::sleep(INTERVAL) => Reason::Time,
            };
            // A disk that hangs must hang a thread that nobody needs.
            let done = tokio::task::spawn_blocking(move || {
                parts.read_again(reason);
                parts
            });
            match done.await {
                Ok(same) => parts = same,
                Err(error) => return tracing::error!(%error, "read certificate, secrets and plugins again"),
            }
        }
    }
}

impl Parts {
    fn read_again(&mut self, reason: Reason) {
        match reason {
            Reason::Time => self.look(),
            Reason::Signal => drop(self.all()),
            // Who asked may be gone; what was read is read.
            Reason::Request(answer) => drop(answer.send(self.all())),
        }
    }

    fn look(&mut self) {
        if let Some(renewed) = self.renewal.look() {
            self.certificate(renewed);
        }
        if let Some(reread) = self.renewal.clients().and_then(ClientsRenewal::look) {
            self.clients(reread);
        }
    }

    fn all(&mut self) -> Vec<Reread> {
        service::reloading();
        let renewed = self.renewal.reload();
        let clients = self.renewal.clients().map(ClientsRenewal::reload);
        let mut reread = vec![self.certificate(renewed)];
        reread.extend(clients.map(|clients| self.clients(clients)));
        reread.extend([self.secrets(), self.plugins()]);
        service::serving();
        reread
    }

    fn certificate(&self, renewed: Result<Arc<Identity>, TlsError>) -> Reread {
        let renewed = renewed.map(|identity| {
            self.cluster.certificate(&identity.name, &identity.sha256);
            let not_after = humantime::format_rfc3339_seconds(identity.not_after);
            vec![format!("the certificate with the SHA-256 {}, valid until {not_after}", identity.sha256)]
        });
        self.tell(Subject::Certificate, renewed.map_err(|error| error.to_string()))
    }

    fn clients(&self, reread: Result<Arc<Authorities>, TlsError>) -> Reread {
        let reread = reread.map(|authorities| {
            warn_of_lists(&authorities);
            vec![format!("{} authorities of client certificates", authorities.count)]
        });
        self.tell(Subject::Clients, reread.map_err(|error| error.to_string()))
    }

    fn secrets(&self) -> Reread {
        let reloaded = self.authority.reload().map(|()| {
            self.cluster.trust(self.authority.seal());
            vec!["tokens and ticket keys".to_owned()]
        });
        self.tell(Subject::Secrets, reloaded.map_err(|error| error.to_string()))
    }

    fn plugins(&self) -> Reread {
        let reloaded = match self.origin.load() {
            Ok(config) => Handle::current()
                .block_on(self.plugins.reload(&config.plugins))
                .map(|plugins| plugins.iter().map(ToString::to_string).collect())
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.tell(Subject::Plugins, reloaded)
    }

    /// Counts, logs and reports what became of one part.
    fn tell(&self, subject: Subject, reread: Result<Vec<String>, String>) -> Reread {
        self.metrics.reloaded(subject, reread.is_ok());
        let (taken, fault) = match reread {
            Ok(taken) => (taken, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        let subject = subject.label();
        match &fault {
            None => tracing::info!(subject, taken = taken.join("; "), "read again"),
            Some(fault) => tracing::error!(subject, fault, "read again: what was there stays in use"),
        }
        Reread { subject: subject.into(), taken, fault }
    }
}
