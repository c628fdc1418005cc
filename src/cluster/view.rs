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
use super::horizon::{Horizon, Moment, Sighting};
use super::names::{self, Name, Refusal};
use super::seal::{GatewayRecord, Seal};

/// Most gateways that are remembered.
const GATEWAYS_MAX: usize = 10_000;
/// Most counts without a signed record that are remembered, to be shown to people.
const STRANGERS_MAX: usize = 100;
/// Most keys whose faults are remembered as told.
const TOLD_MAX: usize = 1_000;
/// Longest beginning of a foreign key that is logged.
const KEY_SHOWN: usize = 100;

/// A key that changed, or one of those that were read. Both texts are cut where they are longer than anything of ours,
/// see [`super::etcd`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Vec<u8>,
    /// `None`: deleted.
    pub(super) value: Option<Vec<u8>>,
    pub(super) revision: Revision,
    pub(super) lease: i64,
}

/// One gateway of the group, as far as it is known.
#[derive(Debug, Clone)]
struct Seen {
    record: Arc<GatewayRecord>,
    /// The record as it is signed: whether it is believed must be asked again when the secrets change.
    text: Vec<u8>,
    /// What the record lives by: only a count under the same one is of the same gateway.
    lease: i64,
    count: Option<Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    value: u64,
    sighting: Sighting,
    heard: Moment,
    lease: i64,
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
    /// Those with a signed record.
    gateways: BTreeMap<SocketAddr, Seen>,
    /// Counts without one.
    strangers: BTreeMap<SocketAddr, Count>,
    /// The counts from before a reset, while it runs.
    before: BTreeMap<SocketAddr, Count>,
    /// Keys that are ignored, and were told.
    told: BTreeSet<Vec<u8>>,
}

impl View {
    pub(super) fn new(own: SocketAddr, group: String, lifetime: Duration, seal: Arc<Seal>) -> Self {
        let (horizon, gateways) = (Horizon::default(), BTreeMap::new());
        let (strangers, before, told) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { own, group, lifetime, seal, horizon, gateways, strangers, before, told }
    }

    /// Believes what is signed with other secrets from now on, and nothing any more that is signed with an old one only.
    /// What is signed with a new one, and was refused until now, is believed when it is written again: at the next refresh.
    pub(super) fn trust(&mut self, seal: Arc<Seal>) {
        self.seal = seal;
        let withdrawn: Vec<SocketAddr> = self
            .gateways
            .iter()
            .filter(|(_, seen)| self.seal.verify::<GatewayRecord>(&seen.text).as_ref() != Some(&*seen.record))
            .map(|(address, _)| *address)
            .collect();
        for address in withdrawn {
            tracing::warn!(%address, "no longer name a gateway: its record is signed with a key that was taken away");
            self.estrange(address);
        }
    }

    /// An answer of etcd, asked for at `asked`, carried `revision`.
    pub(super) fn mark(&mut self, revision: Revision, asked: Moment) {
        self.horizon.mark(revision, asked);
    }

    /// Takes everything that etcd holds at `revision`, as asked for at `asked`. An etcd whose revisions went back is
    /// another one: what the old one proved proves nothing now.
    pub(super) fn reset(&mut self, revision: Revision, asked: Moment, now: Moment, all: Vec<Change>) {
        let before = std::mem::take(&mut self.gateways).into_iter();
        let before = before.filter_map(|(address, seen)| Some((address, seen.count?)));
        let before = before.chain(std::mem::take(&mut self.strangers)).collect();
        if revision < self.horizon.latest() {
            self.horizon.forget();
        } else {
            self.before = before;
        }
        let kept: BTreeSet<&[u8]> = all.iter().map(|change| change.key.as_slice()).collect();
        self.told.retain(|key| kept.contains(key.as_slice()));
        self.apply(now, all);
        self.before.clear();
        self.mark(revision, asked);
    }

    /// Takes what changed. Tells whether a gateway has come that was not there.
    ///
    /// Count and record of a gateway are written in one transaction, so records are taken first: a count without one is
    /// a forgery.
    pub(super) fn apply(&mut self, now: Moment, changes: Vec<Change>) -> bool {
        let mut counts = Vec::new();
        for change in changes {
            match names::parse(&change.key) {
                Err(refusal) => self.ignore(&change, refusal),
                Ok(Some(Name::Server(address))) if address != self.own => counts.push((address, change)),
                Ok(Some(Name::Gateway(address))) if address != self.own => self.take_record(address, &change),
                Ok(_) => {}
            }
        }
        let mut newcomer = false;
        for (address, change) in counts {
            newcomer |= self.take_count(address, &change, now);
        }
        newcomer
    }

    fn take_count(&mut self, address: SocketAddr, change: &Change, now: Moment) -> bool {
        let signed = self.gateways.get(&address);
        let known = signed.map_or_else(|| self.strangers.get(&address), |seen| seen.count.as_ref()).copied();
        let Some(value) = &change.value else {
            self.told.remove(&change.key);
            self.keep(address, None);
            return false;
        };
        let fault = match (names::count(value), signed) {
            (Err(refusal), _) => Some(refusal),
            (Ok(_), None) => Some(Refusal::Unsigned),
            (Ok(_), Some(signed)) if signed.lease != change.lease => Some(Refusal::Stranger),
            (Ok(_), Some(_)) => None,
        };
        match fault {
            Some(refusal) => self.ignore(change, refusal),
            None => drop(self.told.remove(&change.key)),
        }
        let sighting = match known.or_else(|| self.before.get(&address).copied()) {
            Some(known) => known.sighting.next(change.revision, &self.horizon),
            None => Sighting::first(change.revision),
        };
        let count = names::count(value).ok().filter(|_| fault != Some(Refusal::Stranger));
        let count = count.map(|value| Count { value, sighting, heard: now, lease: change.lease });
        self.keep(address, count);
        fault.is_none() && known.is_none()
    }

    /// Keeps what is known of a count, beside the record if there is one.
    fn keep(&mut self, address: SocketAddr, count: Option<Count>) {
        match (self.gateways.get_mut(&address), count) {
            (Some(seen), count) => seen.count = count,
            (None, None) => drop(self.strangers.remove(&address)),
            (None, Some(count)) => {
                if self.strangers.len() < STRANGERS_MAX || self.strangers.contains_key(&address) {
                    self.strangers.insert(address, count);
                }
            }
        }
    }

    fn take_record(&mut self, address: SocketAddr, change: &Change) {
        let Some(text) = &change.value else {
            self.told.remove(&change.key);
            return self.estrange(address);
        };
        let refusal = match self.seal.verify::<GatewayRecord>(text) {
            Some(record) if record.address == address && record.group == self.group => {
                self.told.remove(&change.key);
                return self.welcome(record, text.clone(), change.lease);
            }
            Some(record) if record.address == address => Refusal::OtherGroup,
            _ => Refusal::Unsigned,
        };
        self.ignore(change, refusal);
        self.estrange(address);
    }

    fn welcome(&mut self, record: GatewayRecord, text: Vec<u8>, lease: i64) {
        let address = record.address;
        let stranger = self.strangers.remove(&address).filter(|count| count.lease == lease);
        let count = self.gateways.get(&address).map_or(stranger, |seen| seen.count);
        if self.gateways.len() < GATEWAYS_MAX || self.gateways.contains_key(&address) {
            self.gateways.insert(address, Seen { record: Arc::new(record), text, lease, count });
        }
    }

    /// Its record is gone, or not believed: what remains is a count that nobody signed.
    fn estrange(&mut self, address: SocketAddr) {
        if let Some(seen) = self.gateways.remove(&address) {
            self.keep(address, seen.count);
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
    pub(super) fn candidates(&self, now: Moment) -> impl Iterator<Item = Candidate> {
        self.gateways.iter().filter_map(move |(address, seen)| {
            let count = seen.count?;
            let candidate = Candidate { address: *address, count: count.value, heard: count.heard };
            count.sighting.is_fresh(now, self.lifetime).then_some(candidate)
        })
    }

    /// The record of a gateway.
    pub(super) fn record(&self, address: SocketAddr) -> Option<&Arc<GatewayRecord>> {
        self.gateways.get(&address).map(|seen| &seen.record)
    }

    /// All that have a count, named or not, of strangers the first that came.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        let member = |address: &SocketAddr, count: Count, signed| Member {
            address: *address,
            count: count.value,
            signed,
            alive: count.sighting.alive,
        };
        let signed = self.gateways.iter().filter_map(move |(address, seen)| Some(member(address, seen.count?, true)));
        signed.chain(self.strangers.iter().map(move |(address, count)| member(address, *count, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::GroupRecord;
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn seal() -> Arc<Seal> {
        Arc::new(Seal::new(&[("k".to_owned(), "secret".to_owned())]))
    }

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn gateway(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 8443))
    }

    fn view() -> View {
        let mut view = View::new(gateway(1), "g".to_owned(), TTL, seal());
        view.reset(100, at(0), at(0), Vec::new());
        view
    }

    fn put(key: String, value: impl Into<Vec<u8>>, revision: Revision) -> Change {
        Change { key: key.into_bytes(), value: Some(value.into()), revision, lease: 7 }
    }

    fn count(number: u8, value: &str, revision: Revision) -> Change {
        put(names::server(gateway(number)), value, revision)
    }

    fn record(number: u8, group: &str, revision: Revision) -> Change {
        let record = GatewayRecord {
            address: gateway(number),
            group: group.to_owned(),
            tls_name: "n".to_owned(),
            tls_sha256: "00".to_owned(),
        };
        put(names::gateway(gateway(number)), seal().sign(&record).unwrap(), revision)
    }

    fn named(view: &View, now: Moment) -> Vec<(SocketAddr, u64)> {
        view.candidates(now).map(|candidate| (candidate.address, candidate.count)).collect()
    }

    #[test]
    fn a_gateway_is_named_when_it_is_signed_and_known_to_live() {
        let mut view = view();
        assert!(view.apply(at(1), vec![count(2, "0", 101), record(2, "g", 101)]));
        assert_eq!(named(&view, at(1)), [], "it wrote once, and may be dead since");
        assert!(!view.apply(at(2), vec![count(2, "3", 102)]));
        assert_eq!(named(&view, at(2)), [(gateway(2), 3)]);
        assert_eq!(named(&view, at(59)).len(), 1);
        assert_eq!(named(&view, at(60)), [], "it lived at 0 s for certain, and not for longer");
        view.mark(105, at(50));
        view.apply(at(51), vec![count(2, "3", 106)]);
        assert_eq!(named(&view, at(61)), [], "the write may have been sent long ago");
        view.apply(at(52), vec![count(2, "3", 107)]);
        assert_eq!(named(&view, at(61)).len(), 1);
        view.apply(at(62), vec![Change { value: None, ..count(2, "", 108) }]);
        assert_eq!(named(&view, at(62)), []);
    }

    #[test]
    fn a_reset_keeps_what_was_proven_and_drops_what_is_gone() {
        let mut view = view();
        view.apply(at(1), vec![count(2, "0", 101), record(2, "g", 101), count(3, "0", 102), record(3, "g", 102)]);
        view.apply(at(2), vec![count(2, "0", 103), count(3, "0", 104)]);
        assert_eq!(named(&view, at(2)).len(), 2);
        view.reset(110, at(30), at(30), vec![count(2, "5", 109), record(2, "g", 101)]);
        assert_eq!(named(&view, at(30)), [(gateway(2), 5)]);
        view.reset(50, at(31), at(31), vec![count(2, "5", 40), record(2, "g", 40)]);
        assert_eq!(named(&view, at(31)), [], "the revisions went back: this is another etcd");
    }

    #[test]
    fn forgeries_are_not_named() {
        let other = Arc::new(Seal::new(&[("k".to_owned(), "other secret".to_owned())]));
        let stolen = Change { key: names::gateway(gateway(5)).into_bytes(), ..record(2, "g", 101) };
        for (record, why) in [
            (None, "no record"),
            (Some(record(5, "h", 101)), "another group"),
            (Some(stolen), "the record of another gateway"),
            (
                Some(put(names::gateway(gateway(5)), other.sign(&GroupRecord { group: "g".into() }).unwrap(), 101)),
                "kind",
            ),
            (Some(Change { lease: 8, ..record_by(&other, 5) }), "another secret"),
            (Some(Change { lease: 8, ..record(5, "g", 101) }), "a genuine record and somebody else's count"),
        ] {
            let mut view = view();
            view.apply(at(1), record.into_iter().chain([count(5, "0", 101)]).collect());
            view.apply(at(2), vec![count(5, "0", 102)]);
            view.apply(at(3), vec![count(5, "0", 103)]);
            assert_eq!(named(&view, at(3)), [], "{why}");
            assert!(view.ignored() > 0, "{why}");
        }
    }

    fn record_by(seal: &Seal, number: u8) -> Change {
        let genuine = record(number, "g", 101);
        let body: GatewayRecord = self::seal().verify(genuine.value.as_deref().unwrap()).unwrap();
        Change { value: seal.sign(&body), ..genuine }
    }

    #[test]
    fn foreign_keys_and_values_are_ignored_and_told_once() {
        let mut view = view();
        view.apply(at(1), vec![count(2, "0", 101), record(2, "g", 101)]);
        view.apply(at(1), vec![count(2, "1", 102)]);
        let strange = || {
            vec![
                count(3, "many", 103),
                count(4, "-1", 103),
                count(6, "99999999999999999999", 103),
                put("/rsnap/servers/nonsense".to_owned(), "1", 103),
                put("/rsnap/servers/0.0.0.0:1".to_owned(), "1", 103),
                put("/rsnap/other".to_owned(), "1", 103),
            ]
        };
        view.apply(at(2), strange());
        view.apply(at(3), strange());
        assert_eq!(view.ignored(), 5);
        assert_eq!(named(&view, at(3)), [(gateway(2), 1)]);
        view.reset(110, at(4), at(4), vec![count(2, "1", 102), record(2, "g", 101)]);
        assert_eq!((view.ignored(), named(&view, at(4)).len()), (0, 1));
    }

    #[test]
    fn a_count_that_somebody_else_writes_is_not_believed_until_the_gateway_writes_again() {
        let mut view = view();
        view.apply(at(1), vec![count(2, "3", 101), record(2, "g", 101)]);
        view.apply(at(2), vec![count(2, "3", 102)]);
        view.apply(at(3), vec![Change { lease: 0, ..count(2, "0", 103) }]);
        assert_eq!(named(&view, at(3)), []);
        view.apply(at(4), vec![count(2, "3", 104), record(2, "g", 104)]);
        view.apply(at(5), vec![count(2, "3", 105)]);
        assert_eq!(named(&view, at(5)), [(gateway(2), 3)]);
    }

    #[test]
    fn a_key_that_is_taken_away_takes_the_trust_with_it() {
        let pair = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
        let (old, new) = (pair("k", "secret"), pair("k2", "another"));
        let (both, renewed) = (Seal::new(&[new.clone(), old]), Arc::new(Seal::new(&[new])));
        let mut view = view();
        view.apply(at(1), vec![count(2, "0", 101), record(2, "g", 101), count(3, "0", 101), record(3, "g", 101)]);
        view.apply(at(2), vec![count(2, "1", 102), count(3, "2", 102)]);
        view.trust(Arc::new(Seal::new(&[pair("k2", "another"), pair("k", "secret")])));
        assert_eq!(named(&view, at(2)), [(gateway(2), 1), (gateway(3), 2)], "both keys are good");
        view.apply(at(3), vec![record_by(&both, 3)]);
        view.trust(Arc::clone(&renewed));
        assert_eq!(named(&view, at(3)), [(gateway(3), 2)]);
        assert_eq!(view.record(gateway(2)), None, "no ticket goes to it");
        assert_eq!(view.members().map(|member| member.signed).collect::<Vec<_>>(), [true, false]);
        view.apply(at(4), vec![count(2, "1", 103), record_by(&renewed, 2)]);
        assert_eq!(named(&view, at(4)).len(), 2, "it was never silent");
        view.trust(Arc::new(Seal::new(&[pair("k2", "the same id, another secret")])));
        assert_eq!(named(&view, at(4)), []);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_strangers_displace_nobody() {
        let mut view = view();
        let many = (0..30_000_u32).map(|number| {
            let [_, high, middle, low] = number.to_be_bytes();
            put(names::server(SocketAddr::from(([10, high, middle, low], 1))), "1", 101)
        });
        assert!(!view.apply(at(1), many.collect()), "strangers are not greeted");
        assert!(view.members().count() <= STRANGERS_MAX && view.ignored() <= TOLD_MAX);
        view.apply(at(2), vec![count(2, "3", 102), record(2, "g", 102)]);
        view.apply(at(3), vec![count(2, "3", 103)]);
        assert_eq!(named(&view, at(3)), [(gateway(2), 3)]);
    }
}
