//! Which gateway a sender is told.
//!
//! Every gateway answers `GET /server`, all from the same counts, and all counts are late: a sender that was told an
//! address has not connected yet, its count is not written yet, the write has not come round yet. Whoever simply names
//! the one with the fewest makes a herd of that lateness: in one moment everybody names the same gateway.
//!
//! Three things keep the herd apart, in one number for each gateway, of which the smallest wins:
//!
//! ```text
//! count + gateways × (reservations + fraction)
//! ```
//!
//! - A *reservation* is an answer of our own whose sender is not in the count yet.
//! - What we answer, the others answer too: the balancer before us spreads the callers, so each of our reservations
//!   stands for one of every gateway that answers. Without that factor a gateway that comes back empty is sent the
//!   callers of all others until its count is seen to rise.
//! - The *fraction* is random, from 0 to 1, for each gateway and drawn anew with each reservation. It decides ties, and
//!   it makes the number of answerers that name a gateway proportional to how far it is below the others: together they
//!   fill up the emptiest ones to one level, without talking to each other. With one gateway answering it is
//!   least-connections with random ties.
//!
//! A reservation lapses when the count has had time to show it: when the gateway's key was written [`SETTLED`] or later
//! after the answer, or after [`LAPSE`] whatever happens, because most answers to people who only ask lead to nothing.
//! `cargo xtask bench server_balance` compares this very code with least-connections and with power-of-two-choices.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::horizon::Moment;
use super::random::Random;

/// How long a sender takes from our answer to being counted, on a good day: a TLS handshake, a write, a watch.
pub const SETTLED: Duration = Duration::from_millis(500);
/// How long an answer may stand for a sender of whom nothing is seen.
pub const LAPSE: Duration = Duration::from_secs(5);

/// A gateway that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub address: SocketAddr,
    /// Its running transfers, as far as is known.
    pub count: u64,
    /// When its count was last heard of.
    pub heard: Moment,
}

/// What we have answered about one gateway and do not see yet.
#[derive(Debug, Default)]
struct Reserved {
    /// When, oldest first.
    answers: VecDeque<Moment>,
    fraction: f64,
}

/// Chooses, and remembers what it chose.
#[derive(Debug)]
pub struct Balance {
    random: Random,
    reserved: BTreeMap<SocketAddr, Reserved>,
}

impl Balance {
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self { random, reserved: BTreeMap::new() }
    }

    /// The gateway to send to, with a place reserved there; `None` without candidates.
    pub fn choose(&mut self, candidates: &[Candidate], now: Moment) -> Option<Candidate> {
        self.reserved.retain(|address, _| candidates.iter().any(|candidate| candidate.address == *address));
        let answerers = candidates.len() as f64;
        let mut best: Option<(f64, Candidate)> = None;
        for candidate in candidates {
            let score = candidate.count as f64 + answerers * self.expected(candidate, now);
            if best.is_none_or(|(least, _)| score < least) {
                best = Some((score, *candidate));
            }
        }
        let (_, chosen) = best?;
        self.reserve(chosen.address, now);
        Some(chosen)
    }

    /// Reservations that have not lapsed, and the fraction.
    fn expected(&mut self, candidate: &Candidate, now: Moment) -> f64 {
        let random = &mut self.random;
        let fresh = || Reserved { fraction: random.fraction(), ..Reserved::default() };
        let reserved = self.reserved.entry(candidate.address).or_insert_with(fresh);
        let lapsed = |answer: &Moment| *answer + SETTLED <= candidate.heard || *answer + LAPSE <= now;
        while reserved.answers.front().is_some_and(lapsed) {
            reserved.answers.pop_front();
        }
        reserved.answers.len() as f64 + reserved.fraction
    }

    fn reserve(&mut self, address: SocketAddr, now: Moment) {
        let fraction = self.random.fraction();
        let reserved = self.reserved.entry(address).or_default();
        reserved.answers.push_back(now);
        reserved.fraction = fraction;
    }
}
