//! Keeps a connection to etcd: opens one, lets it work, and opens the next when it fails.
//!
//! Runs on a thread and runtime of its own: a lease that is not renewed because transfers keep all threads busy would
//! declare a busy gateway dead. Waiting times between tries double and are spread. A fault is told once, until a
//! connection has held for a while: an etcd that is away for a day must not fill the log.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus_client::metrics::counter::Counter as Total;
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::Config;
use super::counter::Counter;
use super::etcd::Fault;
use super::horizon::Moment;
use super::load::{Confirmed, Load, Transfers};
use super::random::Random;
use super::seal::{GatewayRecord, GroupRecord, Seal};
use super::session::Session;
use super::shared::Shared;
use crate::retry::Backoff;

/// Between tries, when no member can be used.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(200), ceiling: Duration::from_secs(3), retries: u32::MAX };
/// A connection that held this long was a good one: what fails next is news.
const GOOD: Duration = Duration::from_secs(10);

/// What this gateway wants to be known as.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// May be named to senders.
    pub(super) offered: bool,
    /// Will not be named any more, whatever else is wished.
    pub(super) withdrawn: bool,
    pub(super) tls_name: String,
    pub(super) tls_sha256: String,
    pub(super) seal: Arc<Seal>,
}

impl Wish {
    pub(super) fn is_offered(&self) -> bool {
        self.offered && !self.withdrawn
    }
}

/// Numbers for operators.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) connections: Total,
    pub(super) overtaken: Total,
}

/// What outlives a connection.
pub(super) struct Context {
    pub(super) config: Config,
    pub(super) own: SocketAddr,
    pub(super) group: String,
    pub(super) seal: Arc<Seal>,
    pub(super) counter: Counter,
    pub(super) shared: Shared,
    pub(super) load: Load,
    pub(super) transfers: watch::Receiver<Transfers>,
    pub(super) wishes: watch::Receiver<Wish>,
    /// Signed, as it is written.
    pub(super) record: Vec<u8>,
    pub(super) group_record: Vec<u8>,
    pub(super) random: Random,
    pub(super) totals: Totals,
    /// Kinds of faults that were told.
    pub(super) told: BTreeSet<&'static str>,
    pub(super) last_heard: Option<Moment>,
}

impl Context {
    pub(super) fn now(&self) -> Moment {
        self.shared.now()
    }

    /// etcd has said something.
    pub(super) fn heard(&mut self) {
        self.last_heard = Some(self.now());
    }

    /// Done when something has changed here, after the counter was told. Tells whether these are the secrets.
    pub(super) async fn changed(&mut self) -> bool {
        tokio::select! {
            Ok(()) = self.transfers.changed() => {}
            Ok(()) = self.wishes.changed() => {}
            else => std::future::pending().await,
        }
        self.take_changes()
    }

    pub(super) fn take_changes(&mut self) -> bool {
        let transfers = *self.transfers.borrow_and_update();
        self.counter.transfers(transfers.running, transfers.changes);
        let wish = self.wishes.borrow_and_update().clone();
        self.counter.offer(wish.is_offered());
        let secrets = !Arc::ptr_eq(&self.seal, &wish.seal);
        if secrets {
            self.seal = Arc::clone(&wish.seal);
            self.shared.edit(|state| state.view.trust(Arc::clone(&wish.seal)));
        }
        let (record, group_record) = (self.signed_record(&wish), self.signed_group());
        if record != self.record || group_record != self.group_record {
            (self.record, self.group_record) = (record, group_record);
            self.counter.renew();
        }
        secrets
    }

    fn signed_record(&self, wish: &Wish) -> Vec<u8> {
        let record = GatewayRecord {
            address: self.own,
            group: self.group.clone(),
            tls_name: wish.tls_name.clone(),
            tls_sha256: wish.tls_sha256.clone(),
        };
        self.seal.sign(&record).unwrap_or_default()
    }

    fn signed_group(&self) -> Vec<u8> {
        self.seal.sign(&GroupRecord { group: self.group.clone() }).unwrap_or_default()
    }

    /// Tells the others in this process what is known of etcd now.
    pub(super) fn publish(&self, connected: bool) {
        let (heard, offered) = (self.last_heard, self.wishes.borrow().is_offered());
        self.shared.edit(|state| {
            (state.connected, state.heard, state.offered, state.looked) = (connected, heard, offered, None);
        });
        let released = connected && self.counter.is_released();
        self.load.confirm(Confirmed { changes: self.counter.counted(), released });
    }

    /// Whether the registry belongs to another group. Text that is not signed is nobody's, and is written over.
    pub(super) fn judge_group(&mut self, text: Option<&[u8]>) -> bool {
        let other =
            text.and_then(|text| self.seal.verify::<GroupRecord>(text)).filter(|found| found.group != self.group);
        let refusal = other.map(|found| {
            format!(
                "the gateways in etcd write to another storage than this one (their group is {:?}, ours is {:?}); give \
                 this gateway their storage, or an etcd of its own",
                found.group, self.group
            )
        });
        let refused = refusal.is_some();
        if let Some(text) = &refusal
            && self.told.insert("group")
        {
            tracing::error!("join the other gateways: {text}");
        }
        if !refused {
            self.told.remove("group");
        }
        self.shared.edit(|state| state.refusal = refusal);
        refused
    }

    /// Somebody else has written our key.
    pub(super) fn tell_foreign_writer(&mut self) {
        if self.told.insert("foreign") {
            let own = self.own;
            tracing::warn!(%own, "another process writes the key of this gateway in etcd; is listen.advertise unique?");
        }
    }

    fn tell(&mut self, fault: &Fault) {
        if self.told.insert(fault.kind()) {
            tracing::warn!("{fault}; until it works, GET /server names this gateway");
        } else {
            tracing::debug!(%fault, "etcd");
        }
    }
}

/// Works for ever.
pub(super) async fn drive(mut context: Context) {
    let members = u32::try_from(context.config.endpoints.len()).unwrap_or(u32::MAX).max(1);
    let mut member = context.random.bits();
    let mut failures: u32 = 0;
    loop {
        let begun = Instant::now();
        let position = usize::try_from(member % u64::from(members)).unwrap_or_default();
        let endpoint = context.config.endpoints.get(position).cloned().unwrap_or_default();
        let (worked, fault) = attempt(&mut context, &endpoint).await;
        context.counter.disconnected();
        context.publish(false);
        if worked && begun.elapsed() >= GOOD {
            context.told.retain(|kind| *kind == "group");
        }
        context.tell(&fault);
        failures = if worked { 1 } else { failures.saturating_add(1) };
        member = member.wrapping_add(1);
        let spread = context.random.fraction();
        if let Some(wait) = BACKOFF.wait(failures / members, spread, None) {
            tokio::time::sleep(wait).await;
        }
    }
}

/// One connection, from beginning to end. A crash of the client library ends the connection and nothing else.
async fn attempt(context: &mut Context, endpoint: &str) -> (bool, Fault) {
    let mut worked = false;
    let work = async {
        let session = match Session::open(context, endpoint).await {
            Ok(session) => session,
            Err(fault) => return fault,
        };
        worked = true;
        tracing::info!(%endpoint, "connected to etcd");
        session.run().await
    };
    let fault = AssertUnwindSafe(work).catch_unwind().await;
    (worked, fault.unwrap_or_else(|_| Fault::Client("it crashed, see above".to_owned())))
}
