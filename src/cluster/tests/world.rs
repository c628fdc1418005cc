//! One gateway's key, an etcd, and somebody who looks at it, as a model checker can step through them.
//!
//! The gateway's side is the real [`Counter`], the onlooker's the real [`Horizon`] and [`Sighting`]. The rest is the world
//! that they meet: requests that are lost, doubled by nobody, delayed beyond the life of who sent them; answers that
//! are lost; leases that lapse, are revoked, or are given new time by a new leader; strangers who write the same key.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::counter::{Counter, Known, Lease, Reply, Request, Revision};
use super::super::horizon::{Horizon, Moment, Sighting};

/// The life of a lease, in ticks.
pub(super) const TTL: u64 = 2;
/// What strangers write.
const STRANGE: u64 = 77;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) count: u64,
    pub(super) known: Known,
}

/// What the watch will tell the gateway about its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum News {
    Written(Known),
    Deleted(Revision),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Flight {
    Sent(Request),
    Answered(Reply),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Gateway {
    pub(super) counter: Counter,
    pub(super) running: u64,
    pub(super) changes: u64,
    pub(super) offered: bool,
    connected: bool,
    flight: Option<Flight>,
    news: Vec<News>,
}

/// What may happen how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) begins: u8,
    pub(super) refreshes: u8,
    pub(super) breaks: u8,
    pub(super) crashes: u8,
    pub(super) strangers: u8,
    pub(super) revocations: u8,
    pub(super) elections: u8,
    pub(super) leaves: u8,
    pub(super) looks: u8,
    pub(super) ticks: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    End,
    Leave,
    Refresh,
    KeepAlive,
    /// etcd takes the request that is on its way.
    Arrive,
    /// The gateway gets the answer.
    Answer,
    /// The gateway gets the next piece of news.
    News,
    /// The connection ends: what is on its way may arrive later, or never.
    Break,
    Connect,
    Crash,
    Start,
    /// A request from a connection that is gone arrives, or is lost.
    Late,
    Lose,
    Stranger,
    Revoke,
    Elect,
    /// The onlooker asks etcd for anything, and sees the key.
    Mark,
    See,
    Tick,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u64,
    revision: Revision,
    pub(super) key: Option<Key>,
    /// Each with the tick at which it lapses.
    pub(super) leases: BTreeMap<Lease, u64>,
    next_lease: Lease,
    pub(super) gateway: Option<Gateway>,
    /// When the gateway died, and whether a new leader gave its lease new time since.
    pub(super) died: Option<(u64, bool)>,
    late: Option<Request>,
    /// Somebody else has changed the key since the gateway last wrote it.
    pub(super) touched: bool,
    horizon: Horizon,
    sighting: Option<Sighting>,
    pub(super) budget: Budget,
}

const fn at(tick: u64) -> Moment {
    Duration::from_secs(tick)
}

impl World {
    pub(super) fn new(budget: Budget) -> Self {
        let mut world = Self {
            now: 0,
            revision: 1,
            key: None,
            leases: BTreeMap::new(),
            next_lease: 1,
            gateway: None,
            died: None,
            late: None,
            touched: false,
            horizon: Horizon::default(),
            sighting: None,
            budget,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let mut counter = Counter::new();
        counter.connected();
        let (flight, news) = (None, Vec::new());
        self.gateway = Some(Gateway { counter, running: 0, changes: 0, offered: true, connected: true, flight, news });
        self.died = None;
        self.pump();
    }

    /// Sends what the counter wants, as the session does after everything that happens.
    fn pump(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        gateway.counter.transfers(gateway.running, gateway.changes);
        if let Some(request) = gateway.counter.next_request() {
            assert_eq!(gateway.flight, None, "one request at a time");
            gateway.flight = Some(Flight::Sent(request));
        }
    }

    fn tell(&mut self, news: News) {
        if let Some(gateway) = self.gateway.as_mut().filter(|gateway| gateway.connected) {
            gateway.news.push(news);
        }
    }

    fn drop_key(&mut self) {
        self.key = None;
        self.revision += 1;
        self.tell(News::Deleted(self.revision));
    }

    fn write(&mut self, count: u64, lease: Lease) -> Known {
        self.revision += 1;
        let known = Known { revision: self.revision, lease };
        self.key = Some(Key { count, known });
        known
    }

    /// What etcd does and answers.
    fn apply(&mut self, request: Request) -> Reply {
        let known = self.key.as_ref().map_or(Known::ABSENT, |key| key.known);
        match request {
            Request::Grant => {
                let lease = self.next_lease;
                self.next_lease += 1;
                self.leases.insert(lease, self.now + TTL);
                Reply::Granted(lease)
            }
            Request::Read => Reply::Found(known, self.revision),
            Request::Write { expected, .. } | Request::Delete { expected } if expected != known.revision => {
                Reply::Overtaken(known, self.revision)
            }
            Request::Write { lease, .. } if !self.leases.contains_key(&lease) => Reply::LeaseGone,
            Request::Write { count, lease, .. } => {
                self.write(count, lease);
                self.touched = false;
                Reply::Done(self.revision)
            }
            Request::Delete { .. } => {
                self.drop_key();
                Reply::Done(self.revision)
            }
        }
    }

    fn lapse(&mut self, lease: Lease) {
        self.leases.remove(&lease);
        if self.key.as_ref().is_some_and(|key| key.known.lease == lease) {
            self.touched = true;
            self.drop_key();
        }
    }

    fn disconnect(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        if let Some(Flight::Sent(request)) = gateway.flight.take() {
            self.late = Some(request);
        }
        gateway.connected = false;
        gateway.news.clear();
        gateway.counter.disconnected();
    }

    /// Whether the onlooker would send somebody to this gateway.
    pub(super) fn is_named(&self) -> bool {
        self.sighting.is_some_and(|sighting| sighting.is_fresh(at(self.now), at(TTL)))
    }

    /// The key, when it is one of a gateway and not of a stranger.
    pub(super) fn genuine(&self) -> Option<&Key> {
        self.key.as_ref().filter(|key| key.known.lease != 0)
    }

    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        let budget = &self.budget;
        let mut add = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        match &self.gateway {
            None => add(budget.crashes > 0, Step::Start),
            Some(gateway) => {
                add(budget.begins > 0 && gateway.offered, Step::Begin);
                add(gateway.running > 0, Step::End);
                add(budget.leaves > 0 && gateway.offered, Step::Leave);
                add(budget.refreshes > 0 && gateway.connected, Step::Refresh);
                let lease = gateway.counter.lease();
                add(gateway.connected && lease.is_some_and(|lease| self.can_renew(lease)), Step::KeepAlive);
                add(matches!(gateway.flight, Some(Flight::Sent(_))), Step::Arrive);
                add(matches!(gateway.flight, Some(Flight::Answered(_))), Step::Answer);
                add(!gateway.news.is_empty(), Step::News);
                add(gateway.connected && budget.breaks > 0 && self.late.is_none(), Step::Break);
                add(!gateway.connected, Step::Connect);
                add(budget.crashes > 0 && self.late.is_none(), Step::Crash);
            }
        }
        add(self.late.is_some(), Step::Late);
        add(self.late.is_some(), Step::Lose);
        add(budget.strangers > 0, Step::Stranger);
        add(budget.revocations > 0 && !self.leases.is_empty(), Step::Revoke);
        add(budget.elections > 0 && !self.leases.is_empty(), Step::Elect);
        add(budget.looks > 0, Step::Mark);
        add(budget.looks > 0, Step::See);
        add(budget.ticks > 0, Step::Tick);
    }

    /// A lease that is gone is worth a keep-alive too: its answer says so.
    fn can_renew(&self, lease: Lease) -> bool {
        self.leases.get(&lease).is_none_or(|deadline| *deadline < self.now + TTL)
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Begin | Step::End | Step::Leave | Step::Refresh | Step::KeepAlive | Step::Answer | Step::News => {
                self.step_of_gateway(step);
            }
            Step::Arrive => self.arrive(),
            Step::Break => {
                self.budget.breaks -= 1;
                self.disconnect();
            }
            Step::Connect => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.connected = true;
                    gateway.counter.connected();
                }
            }
            Step::Crash => {
                self.budget.crashes -= 1;
                self.disconnect();
                self.gateway = None;
                self.died = Some((self.now, false));
            }
            Step::Start => {
                self.budget.crashes -= 1;
                self.start();
            }
            Step::Late => {
                if let Some(request) = self.late.take()
                    && matches!(self.apply(request), Reply::Done(_))
                    && let Some(key) = &self.key
                {
                    self.tell(News::Written(key.known));
                }
            }
            Step::Lose => self.late = None,
            Step::Stranger | Step::Revoke | Step::Elect | Step::Tick => self.step_of_etcd(step),
            Step::Mark => {
                self.budget.looks -= 1;
                self.horizon.mark(self.revision, at(self.now));
            }
            Step::See => {
                self.budget.looks -= 1;
                self.sighting = self.genuine().map(|key| key.known.revision).map(|revision| match self.sighting {
                    Some(sighting) => sighting.next(revision, &self.horizon),
                    None => Sighting::first(revision),
                });
            }
        }
        self.pump();
    }

    fn arrive(&mut self) {
        let flight = self.gateway.as_mut().and_then(|gateway| gateway.flight.take());
        if let Some(Flight::Sent(request)) = flight {
            let reply = self.apply(request);
            if let Some(gateway) = &mut self.gateway {
                gateway.flight = Some(Flight::Answered(reply));
            }
        }
    }

    fn step_of_gateway(&mut self, step: Step) {
        let Some(gateway) = &mut self.gateway else { return };
        match step {
            Step::Begin => {
                self.budget.begins -= 1;
                gateway.running += 1;
                gateway.changes += 1;
            }
            Step::End => {
                gateway.running -= 1;
                gateway.changes += 1;
            }
            Step::Leave => {
                self.budget.leaves -= 1;
                gateway.offered = false;
                gateway.counter.offer(false);
            }
            Step::Refresh => {
                self.budget.refreshes -= 1;
                gateway.counter.refresh_due();
            }
            Step::KeepAlive => {
                if let Some(lease) = gateway.counter.lease() {
                    match self.leases.get_mut(&lease) {
                        Some(deadline) => *deadline = self.now + TTL,
                        None => gateway.counter.lease_gone(lease),
                    }
                }
            }
            Step::Answer => {
                if let Some(Flight::Answered(reply)) = gateway.flight.take() {
                    gateway.counter.reply(reply);
                }
            }
            _ => match gateway.news.remove(0) {
                News::Written(known) => gateway.counter.seen(known),
                News::Deleted(revision) => gateway.counter.vanished(revision),
            },
        }
    }

    fn step_of_etcd(&mut self, step: Step) {
        match step {
            Step::Stranger => {
                self.budget.strangers -= 1;
                let known = self.write(STRANGE, 0);
                self.tell(News::Written(known));
                self.touched = true;
            }
            Step::Revoke => {
                self.budget.revocations -= 1;
                if let Some(lease) = self.leases.keys().next().copied() {
                    self.lapse(lease);
                }
            }
            Step::Elect => {
                self.budget.elections -= 1;
                let deadline = self.now + TTL;
                self.leases.values_mut().for_each(|lapses| *lapses = deadline);
                self.died = self.died.map(|(when, _)| (when, true));
            }
            _ => {
                self.budget.ticks -= 1;
                self.now += 1;
                let now = self.now;
                let lapsed: Vec<Lease> =
                    self.leases.iter().filter(|(_, lapses)| **lapses < now).map(|(lease, _)| *lease).collect();
                lapsed.into_iter().for_each(|lease| self.lapse(lease));
            }
        }
    }

    /// Nothing is on its way, and the gateway wants nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.late.is_none()
            && self
                .gateway
                .as_ref()
                .is_some_and(|gateway| gateway.connected && gateway.flight.is_none() && gateway.news.is_empty())
    }
}
