//! What is known of the other gateways: fed by a read and a watch, so that `GET /server` costs no request.
//!
//! A gateway is named only when three things hold: it has a count, it has a record that is signed for that address and
//! this group, and it has written within the life of a lease. The last is judged by our own clock and not by etcd's
//! leases, see [`super::horizon`]: a gateway that died is not named for longer than that, whatever etcd still holds and
//! however old the news are that reach us.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::balance::Candidate;
use super::counter::Revision;
use super::horizon::{Horizon, Moment};
use super::names::{self, Name, Refusal};
use super::seal::{GatewayRecord, Seal};

/// Most gateways that are remembered.
const GATEWAYS_MAX: usize = 10_000;
/// Most keys whose faults are remembered as told.
const TOLD_MAX: usize = 1_000;
/// Longest beginning of a foreign key that is logged.
const KEY_SHOWN: usize = 100;

/// A key that changed, or one of those that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Vec<u8>,
    /// `None`: deleted.
    pub(super) value: Option<Vec<u8>>,
    pub(super) revision: Revision,
    pub(super) lease: i64,
}

/// One gateway, as far as it is known.
#[derive(Debug, Clone, Default)]
struct Seen {
    count: Option<Count>,
    record: Option<GatewayRecord>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    value: u64,
    revision: Revision,
    /// It was written after this moment.
    written: Option<Moment>,
    heard: Moment,
}

/// A registered gateway, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub address: SocketAddr,
    pub count: u64,
    /// Its record is signed for this group.
    pub signed: bool,
    /// It was alive at this moment at least; `None`: not known.
    pub alive: Option<Moment>,
}

/// All gateways that etcd holds, but ourselves.
#[derive(Debug)]
pub(super) struct View {
    own: SocketAddr,
    group: String,
    lifetime: Duration,
    seal: Arc<Seal>,
    horizon: Horizon,
    gateways: BTreeMap<SocketAddr, Seen>,
    /// Keys that are ignored, and were told.
    told: BTreeSet<Vec<u8>>,
}

impl View {
    pub(super) fn new(own: SocketAddr, group: String, lifetime: Duration, seal: Arc<Seal>) -> Self {
        let (horizon, gateways, told) = (Horizon::default(), BTreeMap::new(), BTreeSet::new());
        Self { own, group, lifetime, seal, horizon, gateways, told }
    }

    /// Believes what is signed with other secrets from now on.
    pub(super) fn trust(&mut self, seal: Arc<Seal>) {
        self.seal = seal;
    }

    /// An answer of etcd, asked for at `asked`, carried `revision`.
    pub(super) fn mark(&mut self, revision: Revision, asked: Moment) {
        self.horizon.mark(revision, asked);
    }

    /// Takes everything that etcd holds at `revision`, as asked for at `asked`. An etcd whose revisions went back is
    /// another one: what the old one proved proves nothing now.
    pub(super) fn reset(&mut self, revision: Revision, asked: Moment, now: Moment, all: Vec<Change>) {
        let mut before = std::mem::take(&mut self.gateways);
        if revision < self.horizon.latest() {
            self.horizon.forget();
            before.clear();
        }
        let kept: BTreeSet<&[u8]> = all.iter().map(|change| change.key.as_slice()).collect();
        self.told.retain(|key| kept.contains(key.as_slice()));
        self.apply(now, all);
        for (address, seen) in &mut self.gateways {
            let old = before.get(address).and_then(|old| old.count);
            if let (Some(count), Some(old)) = (&mut seen.count, old)
                && count.revision == old.revision
            {
                *count = old;
            }
        }
        self.mark(revision, asked);
    }

    /// Takes what changed. Tells whether a gateway has come that was not there.
    pub(super) fn apply(&mut self, now: Moment, changes: Vec<Change>) -> bool {
        let mut touched = BTreeMap::new();
        let mut newcomer = false;
        for change in changes {
            match names::parse(&change.key) {
                Err(refusal) => self.ignore(&change, refusal),
                Ok(Some(Name::Server(address))) if address != self.own => {
                    newcomer |= self.take_count(address, &change, now);
                    touched.insert(address, change);
                }
                Ok(Some(Name::Gateway(address))) if address != self.own => self.take_record(address, &change),
                Ok(_) => {}
            }
        }
        // Count and record of a gateway are written in one transaction, so that one without the other is a forgery.
        for (address, change) in touched {
            let unsigned =
                self.gateways.get(&address).is_some_and(|seen| seen.count.is_some() && seen.record.is_none());
            if unsigned {
                self.ignore(&change, Refusal::Unsigned);
            }
        }
        newcomer
    }

    fn take_count(&mut self, address: SocketAddr, change: &Change, now: Moment) -> bool {
        let count = match change.value.as_deref().map(names::count) {
            None => {
                self.told.remove(&change.key);
                None
            }
            Some(Ok(value)) => {
                let written = self.horizon.since(change.revision);
                Some(Count { value, revision: change.revision, written, heard: now })
            }
            Some(Err(refusal)) => {
                self.ignore(change, refusal);
                None
            }
        };
        let known = self.gateways.get(&address).is_some_and(|seen| seen.count.is_some());
        self.edit(address, |seen| seen.count = count);
        count.is_some() && !known
    }

    fn take_record(&mut self, address: SocketAddr, change: &Change) {
        let record = change.value.as_deref().and_then(|text| self.seal.verify::<GatewayRecord>(text));
        let record = match record {
            Some(record) if record.address != address => {
                self.ignore(change, Refusal::Unsigned);
                None
            }
            Some(record) if record.group != self.group => {
                self.ignore(change, Refusal::OtherGroup);
                None
            }
            other => other,
        };
        if change.value.is_none() || record.is_some() {
            self.told.remove(&change.key);
            self.told.remove(names::server(address).as_bytes());
        }
        self.edit(address, |seen| seen.record = record);
    }

    fn edit(&mut self, address: SocketAddr, edit: impl FnOnce(&mut Seen)) {
        if self.gateways.len() >= GATEWAYS_MAX && !self.gateways.contains_key(&address) {
            return;
        }
        let seen = self.gateways.entry(address).or_default();
        edit(seen);
        if seen.count.is_none() && seen.record.is_none() {
            self.gateways.remove(&address);
        }
    }

    /// Says once for each key why it is ignored.
    fn ignore(&mut self, change: &Change, refusal: Refusal) {
        if change.value.is_none() || self.told.len() >= TOLD_MAX || !self.told.insert(change.key.clone()) {
            return;
        }
        let shown = change.key.get(..KEY_SHOWN).unwrap_or(&change.key).escape_ascii();
        tracing::warn!(key = %shown, why = %refusal, "ignore a key in etcd; remove it, or find out who writes it");
    }

    /// How many keys are ignored.
    pub(super) fn ignored(&self) -> usize {
        self.told.len()
    }

    /// The other gateways that may be named now.
    pub(super) fn candidates(&self, now: Moment) -> impl Iterator<Item = (Candidate, &GatewayRecord)> {
        self.gateways.iter().filter_map(move |(address, seen)| {
            let (count, record) = (seen.count?, seen.record.as_ref()?);
            let alive = count.written.is_some_and(|written| now.saturating_sub(written) < self.lifetime);
            let candidate = Candidate { address: *address, count: count.value, heard: count.heard };
            alive.then_some((candidate, record))
        })
    }

    /// The record of a gateway.
    pub(super) fn record(&self, address: SocketAddr) -> Option<&GatewayRecord> {
        self.gateways.get(&address)?.record.as_ref()
    }

    /// All that have a count, named or not.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.gateways.iter().filter_map(|(address, seen)| {
            let count = seen.count?;
            let (signed, alive) = (seen.record.is_some(), count.written);
            Some(Member { address: *address, count: count.value, signed, alive })
        })
    }
}
