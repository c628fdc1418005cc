//! Several gateways behind one address: who there is, who has the least to do, and whether they may stand together.
//!
//! Each gateway keeps one key in etcd, `/rsnap/servers/<ip:port>`, with the number of its running transfers as a plain
//! decimal, under a lease. That is all that others may rely on. What gateways need beyond it lives beside it under the
//! same lease: `/rsnap/gateways/<ip:port>`, a signed record without which nobody is named, and `/rsnap/group`, to whom
//! the registry belongs. Nothing here knows HTTP or a storage.
//!
//! etcd makes answers better and is never needed for one: `GET /server` reads what a watch has brought, and without
//! etcd a gateway names itself. A lock per volume in etcd was refused, because locks there do not fence; who may write
//! a volume is decided in the storage.
//!
//! | file | subject |
//! |---|---|
//! | `counter` | our own key, as a state machine without input or output |
//! | `names`, `seal`, `view`, `horizon` | what is believed of what etcd holds, and for how long |
//! | `balance`, `random` | who is named |
//! | `load` | our own number, and waiting until etcd has it |
//! | `etcd`, `session`, `driver` | talking to etcd: a request, a connection, all connections |
//! | `reader` | single keys for others than the registry |

pub mod balance;
mod config;
pub mod counter;
mod driver;
mod etcd;
pub mod horizon;
mod load;
mod names;
pub mod random;
mod reader;
mod seal;
mod session;
mod shared;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::balance::{Balance, Candidate};
pub use self::config::Config;
use self::counter::Counter;
use self::driver::{Context, Totals, Wish};
pub use self::load::{Counted, Load};
use self::random::Random;
pub use self::reader::Reader;
pub use self::seal::{GatewayRecord, Seal};
use self::shared::Shared;
pub use self::view::Member;
use self::view::View;
use crate::metrics::Metrics;

/// How old what is known of the gateways may be when several are asked for: all of them are gone through this often, and
/// not for each answer. It is nothing beside the time that a count takes to come here.
const LOOKS: Duration = Duration::from_millis(1);
/// How long the end of a transfer waits for an etcd that was never configured: not at all.
const ALONE: Duration = Duration::ZERO;

/// What a gateway is to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The address that callers are told.
    pub address: SocketAddr,
    /// What those who write to the same storage have in common.
    pub group: String,
    /// The name to verify in our certificate.
    pub tls_name: String,
    /// SHA-256 of our certificate (DER), in hexadecimal.
    pub tls_sha256: String,
}

/// Why a gateway cannot stand beside others.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("could not start the thread that talks to etcd: {0}")]
    Thread(#[source] std::io::Error),
}

/// Whom to name to a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub address: SocketAddr,
    /// Its running transfers, as far as is known.
    pub count: u64,
    pub source: Source,
    /// How long ago etcd last said anything; `None` when it never has.
    pub age: Option<Duration>,
    /// The signed record of another gateway; `None` for this one.
    pub record: Option<Arc<GatewayRecord>>,
}

impl Choice {
    /// Whether this gateway names itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.record.is_none()
    }
}

/// Where a choice comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The counts in etcd.
    Etcd,
    /// This gateway names itself: there is no etcd, or none that answers.
    Own,
}

/// All registered gateways, as this one knows them.
#[derive(Debug, Clone)]
pub struct Members {
    pub source: Source,
    pub age: Option<Duration>,
    /// This gateway first. With how long ago each was known to be alive.
    pub members: Vec<(Member, Option<Duration>)>,
}

/// The registry of gateways. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cluster {
    own: SocketAddr,
    load: Load,
    registry: Option<Registry>,
}

/// What there is with etcd.
#[derive(Debug, Clone)]
struct Registry {
    shared: Shared,
    wishes: Arc<watch::Sender<Wish>>,
    timeout: Duration,
    lifetime: Duration,
    _stop: Arc<DropGuard>,
}

/// The count of running transfers, for a gateway with this `[etcd]` table.
#[must_use]
pub fn load(config: Option<&Config>) -> Load {
    Load::new(config.map_or(ALONE, |config| config.timeout.0))
}

impl Cluster {
    /// A gateway without etcd.
    #[must_use]
    pub fn alone(own: SocketAddr, load: Load) -> Self {
        Self { own, load, registry: None }
    }

    /// A gateway among others: starts the thread that talks to etcd, whether etcd is there or not.
    pub fn start(
        config: Config,
        identity: Identity,
        seal: Arc<Seal>,
        load: Load,
        metrics: &Metrics,
    ) -> Result<Self, ClusterError> {
        let Identity { address: own, group, tls_name, tls_sha256 } = identity;
        let (lifetime, timeout) = (config.ttl.0, config.timeout.0);
        let view = View::new(own, group.clone(), lifetime, Arc::clone(&seal));
        let shared = Shared::new(view, Balance::new(Random::seeded()));
        let wishes =
            watch::Sender::new(Wish { offered: true, withdrawn: false, tls_name, tls_sha256, seal: Arc::clone(&seal) });
        let totals = Totals::default();
        measure(metrics, &shared, &totals);
        let context = Context {
            config,
            own,
            group_record: Vec::new(),
            group,
            seal,
            counter: Counter::new(),
            shared: shared.clone(),
            transfers: load.watch(),
            load: load.clone(),
            wishes: wishes.subscribe(),
            record: Vec::new(),
            random: Random::seeded(),
            totals,
            told: BTreeSet::new(),
            last_heard: None,
        };
        let stop = spawn(context)?;
        let registry = Registry { shared, wishes: Arc::new(wishes), timeout, lifetime, _stop: Arc::new(stop) };
        Ok(Self { own, load, registry: Some(registry) })
    }

    /// The gateway to name to the next sender. Asks nobody.
    #[must_use]
    pub fn choose(&self) -> Choice {
        let own =
            Choice { address: self.own, count: self.load.running(), source: Source::Own, age: None, record: None };
        let Some(registry) = &self.registry else { return own };
        let now = registry.shared.now();
        registry.shared.edit(|state| {
            let age = state.heard.map(|heard| now.saturating_sub(heard));
            if !state.connected || state.refusal.is_some() {
                return Choice { age, ..own };
            }
            if state.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOKS) {
                let others = state.view.candidates(now);
                let own = Candidate { address: self.own, count: own.count, heard: now };
                let candidates: Vec<Candidate> = others.chain(state.offered.then_some(own)).collect();
                state.balance.look(&candidates, now);
                state.looked = Some(now);
            }
            let Some(chosen) = state.balance.choose_again(now) else { return Choice { age, ..own } };
            let record = state.view.record(chosen.address).cloned();
            Choice { address: chosen.address, count: chosen.count, source: Source::Etcd, age, record }
        })
    }

    /// All that are registered, named or not.
    #[must_use]
    pub fn members(&self) -> Members {
        let own = Member { address: self.own, count: self.load.running(), signed: true, alive: None };
        let own = (own, Some(Duration::ZERO));
        let Some(registry) = &self.registry else {
            return Members { source: Source::Own, age: None, members: vec![own] };
        };
        let now = registry.shared.now();
        registry.shared.edit(|state| {
            let age = |moment| now.saturating_sub(moment);
            let others = state.view.members().map(|member| (member.clone(), member.alive.map(age)));
            let source = if state.connected { Source::Etcd } else { Source::Own };
            Members { source, age: state.heard.map(age), members: std::iter::once(own).chain(others).collect() }
        })
    }

    /// How long a gateway that is not heard of is still named.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.registry.as_ref().map(|registry| registry.lifetime)
    }

    /// Why this gateway must not stand behind the common address.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.registry.as_ref()?.shared.edit(|state| state.refusal.clone())
    }

    /// Whether this gateway may be named to senders. One that may not has no key in etcd.
    pub fn offer(&self, offered: bool) {
        if let Some(registry) = &self.registry {
            registry.wishes.send_if_modified(|wish| std::mem::replace(&mut wish.offered, offered) != offered);
        }
    }

    /// This gateway has another certificate now.
    pub fn certificate(&self, tls_name: &str, tls_sha256: &str) {
        if let Some(registry) = &self.registry {
            registry.wishes.send_modify(|wish| {
                tls_name.clone_into(&mut wish.tls_name);
                tls_sha256.clone_into(&mut wish.tls_sha256);
            });
        }
    }

    /// The group has other secrets now: what is signed with none of them is not believed any more.
    pub fn trust(&self, seal: Arc<Seal>) {
        if let Some(registry) = &self.registry {
            registry.wishes.send_modify(|wish| wish.seal = seal);
        }
    }

    /// Takes this gateway's key out of etcd, for good. Done when it is out, or when etcd takes too long.
    pub async fn withdraw(&self) {
        let Some(registry) = &self.registry else { return };
        registry.wishes.send_modify(|wish| wish.withdrawn = true);
        let mut confirmed = self.load.confirmed();
        let out = confirmed.wait_for(|known| known.released);
        if tokio::time::timeout(registry.timeout, out).await.is_err() {
            let lifetime = registry.lifetime;
            tracing::warn!("take this gateway's key out of etcd: no answer; the key lapses within {lifetime:?}");
        }
    }
}

fn spawn(context: Context) -> Result<DropGuard, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClusterError::Thread)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let work = move || {
        runtime.block_on(stopped.run_until_cancelled(driver::drive(context)));
    };
    std::thread::Builder::new().name("cluster".to_owned()).spawn(work).map_err(ClusterError::Thread)?;
    Ok(stop.drop_guard())
}

fn measure(metrics: &Metrics, shared: &Shared, totals: &Totals) {
    metrics.count("etcd_connections", "Connections to etcd that worked", totals.connections.clone());
    metrics.count("etcd_overtaken", "Writes to etcd that another writer overtook", totals.overtaken.clone());
    let state = shared.clone();
    metrics.sample("etcd_connected", "Whether etcd answers", move || state.edit(|state| i64::from(state.connected)));
    let state = shared.clone();
    metrics.sample("etcd_keys_ignored", "Keys in etcd that are not believed", move || {
        state.edit(|state| i64::try_from(state.view.ignored()).unwrap_or(i64::MAX))
    });
    let state = shared.clone();
    metrics.sample("gateways", "Gateways that can be named, with this one", move || {
        let now = state.now();
        state.edit(|state| 1 + i64::try_from(state.view.candidates(now).count()).unwrap_or_default())
    });
}
