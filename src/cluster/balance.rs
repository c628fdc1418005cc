//! Which gateway a sender is told.
//!
//! Every gateway answers `GET /server`, all from the same counts, and all counts are late: a sender that was told an
//! address has not connected yet, its count is not written yet, the write has not come round yet. Whoever simply names
//! the one with the fewest makes a herd of that lateness: in one moment everybody names the same gateway.
//!
//! Three things keep the herd apart, in one number for each gateway, of which the smallest wins:
//!
//! ```text
//! count + weight × (reservations + fraction)
//! ```
//!
//! - A *reservation* is an answer of our own whose sender is not in the count yet.
//! - The *fraction* is random, from 0 to 1, for each gateway and each [`ROUND`]. It decides ties.
//! - The *weight* is how many senders are on their way, told by all gateways together, for each answer of our own. It
//!   is estimated from how many were seen to begin lately, and from our own answers: the balancer before us spreads the
//!   callers, so when we give several at once, so do the others. It is 1 while little happens, and then the gateway with
//!   the fewest is named, always. In a burst it makes the number of answers that name a gateway proportional to how far
//!   that one is below the others: together, all who answer fill up the emptiest ones to one level, without talking to
//!   each other, as if water were poured over them.
//!
//! A reservation lapses when the count has risen by what it stands for, when the count was heard of so late after the
//! answer that the sender would be in it, or after [`LAPSE`], because some who ask do not come. Power of two choices was
//! refused: it names a gateway that has more to do even when nothing else happens. `cargo xtask bench server_balance`
//! compares this very code with it, and with least-connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::horizon::Moment;
use super::random::Random;

/// How long a sender takes from our answer to being counted, on a bad day: a TLS handshake over a long way, a write, a
/// watch.
const SETTLED: Duration = Duration::from_secs(1);
/// How long an answer may stand for a sender of whom nothing is seen.
const LAPSE: Duration = Duration::from_secs(5);
/// After this time, half of what began is not on its way any more.
const RECENT: Duration = Duration::from_millis(400);
/// How long the fractions stay: within it our answers go round the gateways, from one to the next we start elsewhere.
const ROUND: Duration = Duration::from_millis(300);

/// A gateway that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub address: SocketAddr,
    /// Its running transfers, as far as is known.
    pub count: u64,
    /// When its count was last heard of.
    pub heard: Moment,
}

/// What is remembered of one gateway.
#[derive(Debug)]
struct Reserved {
    /// As it was when it was last looked at.
    candidate: Candidate,
    /// When our answers were given, oldest first.
    answers: VecDeque<Moment>,
    /// By how much the count has risen without a reservation having lapsed for it.
    risen: f64,
    fraction: f64,
}

/// Chooses, and remembers what it chose.
#[derive(Debug)]
pub struct Balance {
    random: Random,
    /// One for each candidate, in their order: with a hundred of them, looking each up would cost more than all the rest.
    reserved: Vec<Reserved>,
    /// Senders that were seen to begin lately, at all gateways.
    begun: f64,
    /// All reservations.
    own: usize,
    looked: Moment,
    round: Moment,
}

impl Balance {
    #[must_use]
    pub fn new(random: Random) -> Self {
        let (looked, round) = (Moment::ZERO, Moment::ZERO);
        Self { random, reserved: Vec::new(), begun: 0.0, own: 0, looked, round }
    }

    /// The gateway to send to, with a place reserved there; `None` without candidates.
    pub fn choose(&mut self, candidates: &[Candidate], now: Moment) -> Option<Candidate> {
        self.look(candidates, now);
        self.choose_again(now)
    }

    /// As [`Balance::choose`], among those that were looked at last.
    pub fn choose_again(&mut self, now: Moment) -> Option<Candidate> {
        let weight = self.weight();
        let score = |reserved: &Reserved| {
            reserved.candidate.count as f64 + weight * (reserved.answers.len() as f64 + reserved.fraction)
        };
        let scored = self.reserved.iter_mut().map(|reserved| (score(reserved), reserved));
        let (_, chosen) = scored.min_by(|(one, _), (other, _)| one.total_cmp(other))?;
        chosen.answers.push_back(now);
        self.own += 1;
        Some(chosen.candidate)
    }

    /// See [`weight`].
    fn weight(&self) -> f64 {
        weight(self.begun, self.own as f64, self.reserved.len() as f64)
    }

    /// Takes note of the candidates and their counts, and lets reservations lapse.
    pub fn look(&mut self, candidates: &[Candidate], now: Moment) {
        let passed = now.saturating_sub(self.looked).as_secs_f64();
        self.begun *= 0.5_f64.powf(passed / RECENT.as_secs_f64());
        self.looked = now;
        let weight = self.weight();
        self.align(candidates);
        let is_new_round = now.saturating_sub(self.round) >= ROUND;
        if is_new_round {
            self.round = now;
        }
        let mut own = 0;
        for (candidate, reserved) in candidates.iter().zip(&mut self.reserved) {
            if is_new_round {
                reserved.fraction = self.random.fraction();
            }
            let risen = candidate.count.saturating_sub(reserved.candidate.count) as f64;
            reserved.candidate = *candidate;
            if now.saturating_sub(candidate.heard) < RECENT {
                self.begun += risen;
            }
            reserved.lapse(risen, weight, candidate.heard, now);
            own += reserved.answers.len();
        }
        self.own = own;
    }

    /// Brings what is remembered into the order of the candidates, and forgets who is none any more.
    fn align(&mut self, candidates: &[Candidate]) {
        let addresses = candidates.iter().map(|candidate| candidate.address);
        if self.reserved.iter().map(|reserved| reserved.candidate.address).eq(addresses) {
            return;
        }
        let known = self.reserved.drain(..).map(|reserved| (reserved.candidate.address, reserved));
        let mut known: BTreeMap<SocketAddr, Reserved> = known.collect();
        for candidate in candidates {
            let fresh = || Reserved {
                candidate: *candidate,
                answers: VecDeque::new(),
                risen: 0.0,
                fraction: self.random.fraction(),
            };
            self.reserved.push(known.remove(&candidate.address).unwrap_or_else(fresh));
        }
    }
}

/// How many senders are on their way for each answer of our own, and the one that is asked for now: as many as `begun`
/// lately, or as many as there are when all `gateways` have answered as we have, but for one of ours.
fn weight(begun: f64, own: f64, gateways: f64) -> f64 {
    let on_their_way = begun.max(gateways * (own - 1.0) + 1.0);
    (on_their_way / (own + 1.0)).max(1.0)
}

impl Reserved {
    fn lapse(&mut self, risen: f64, weight: f64, heard: Moment, now: Moment) {
        self.risen += risen;
        while self.risen >= weight && self.answers.pop_front().is_some() {
            self.risen -= weight;
        }
        let lapsed = |answer: &Moment| *answer + SETTLED <= heard || *answer + LAPSE <= now;
        while self.answers.front().is_some_and(lapsed) {
            self.answers.pop_front();
        }
        if self.answers.is_empty() {
            self.risen = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Duration::from_secs(100);

    fn candidates(counts: &[u64], heard: Moment) -> Vec<Candidate> {
        let address = |number| SocketAddr::from(([192, 0, 2, number], 8443));
        (1..).zip(counts).map(|(number, count)| Candidate { address: address(number), count: *count, heard }).collect()
    }

    fn position(candidates: &[Candidate], chosen: Option<Candidate>) -> usize {
        candidates.iter().position(|candidate| Some(candidate.address) == chosen.map(|chosen| chosen.address)).unwrap()
    }

    fn answers(balance: &Balance) -> usize {
        balance.reserved.iter().map(|reserved| reserved.answers.len()).sum()
    }

    #[test]
    fn who_asks_while_nothing_is_reserved_is_told_the_one_with_the_fewest() {
        for seed in 0..100 {
            let mut balance = Balance::new(Random::new(seed));
            let quiet = candidates(&[3, 2, 1, 2], Moment::ZERO);
            assert_eq!(position(&quiet, balance.choose(&quiet, START)), 2);
            let later = START + LAPSE;
            assert_eq!(position(&quiet, balance.choose(&quiet, later)), 2, "the reservation has lapsed");
        }
        assert_eq!(Balance::new(Random::new(1)).choose(&[], START), None);
    }

    #[test]
    fn ties_are_broken_at_random() {
        let mut told = [0; 4];
        for seed in 0..1000 {
            let equal = candidates(&[1; 4], Moment::ZERO);
            told[position(&equal, Balance::new(Random::new(seed)).choose(&equal, START))] += 1;
        }
        assert!(told.iter().all(|count| (180..320).contains(count)), "{told:?}");
    }

    #[test]
    fn many_askers_between_two_updates_are_told_different_ones() {
        let mut balance = Balance::new(Random::new(5));
        let equal = candidates(&[0; 10], Moment::ZERO);
        let mut told = [0; 10];
        for _ in 0..100 {
            told[position(&equal, balance.choose(&equal, START))] += 1;
        }
        assert_eq!(told, [10; 10]);
    }

    #[test]
    fn whether_all_are_looked_at_each_time_makes_no_difference_to_the_answers() {
        let known = candidates(&[4, 0, 2, 9, 1], Moment::ZERO);
        let (mut each, mut once) = (Balance::new(Random::new(3)), Balance::new(Random::new(3)));
        once.look(&known, START);
        for _ in 0..50 {
            assert_eq!(each.choose(&known, START), once.choose_again(START));
        }
    }

    #[test]
    fn a_reservation_lapses_when_the_count_rises_or_was_heard_of_late_enough() {
        let mut balance = Balance::new(Random::new(5));
        let before = candidates(&[0, 1], Moment::ZERO);
        assert_eq!(position(&before, balance.choose(&before, START)), 0);
        let risen = candidates(&[1, 1], START);
        balance.look(&risen, START + RECENT);
        assert_eq!(answers(&balance), 0, "{balance:?}");

        let mut balance = Balance::new(Random::new(5));
        balance.choose(&before, START);
        balance.look(&candidates(&[0, 1], START + SETTLED / 2), START + SETTLED);
        assert_eq!(answers(&balance), 1);
        balance.look(&candidates(&[0, 1], START + SETTLED), START + SETTLED);
        assert_eq!(answers(&balance), 0);
    }

    #[test]
    fn a_gateway_that_comes_back_empty_is_not_sent_everybody() {
        let mut counts = vec![100; 50];
        counts[7] = 0;
        let known = candidates(&counts, Moment::ZERO);
        let mut told = 0;
        for answerer in 0..50 {
            let mut balance = Balance::new(Random::new(answerer));
            let first: Vec<usize> = (0..10).map(|_| position(&known, balance.choose(&known, START))).collect();
            told += first.iter().filter(|chosen| **chosen == 7).count();
        }
        // It is a hundred below the others, and nobody has heard of anybody yet: most go elsewhere.
        assert!((50..250).contains(&told), "50 gateways answered 500 callers and sent {told} to the empty one");
    }

    #[test]
    fn who_is_not_a_candidate_any_more_is_forgotten() {
        let mut balance = Balance::new(Random::new(5));
        let all = candidates(&[0, 0, 0], Moment::ZERO);
        balance.choose(&all, START);
        balance.choose(&all[..1], START);
        assert_eq!(balance.reserved.len(), 1);
    }
}
