//! A burst of transfers over many gateways, all of which answer `GET /server`: how even does the load become?
//!
//! What decides is the gateway's own code. What is simulated is what lies around it: callers that the balancer spreads at
//! random over the gateways; the time a caller takes from its answer to its start (median 80 ms); the time a count takes
//! through etcd to each gateway (5 to 40 ms, for each its own); and how long transfers last: sizes as volumes have them,
//! most small and a few enormous (log-normal, median 1 GiB, one in a hundred above 100 GiB), at 125 MB/s each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use rsnap::cluster::balance::{Balance, Candidate};
use rsnap::cluster::random::Random;

/// How long a transfer of the median size lasts, in seconds, and how far sizes spread.
const LASTS: (f64, f64) = (8.6, 2.0);
/// How long a caller takes to start, in seconds, and how far that spreads.
const STARTS: (f64, f64) = (0.08, 0.8);
/// How long etcd takes to write, and then until a gateway has it, in seconds: least and most.
const WRITTEN: (f64, f64) = (0.002, 0.01);
const SEEN: (f64, f64) = (0.003, 0.03);
/// Gateways have been running for this long when the burst begins.
const BEFORE: f64 = 100.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// The gateway's own
    Rsnap,
    /// The fewest, by what is known; ties at random
    LeastConnections,
    /// The better one of two at random
    TwoChoices,
}

#[derive(Debug, Args)]
pub(crate) struct Burst {
    #[arg(long)]
    policy: Policy,
    #[arg(long)]
    gateways: usize,
    #[arg(long, default_value_t = 10_000)]
    transfers: usize,
    /// How long the burst lasts
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Ask,
    Start(usize),
    End(usize),
}

/// One gateway: how many run there, and what others have heard of that.
struct Gateway {
    running: u64,
    /// When each number was written to etcd, ascending.
    written: Vec<(f64, u64)>,
    /// How long news take to this gateway.
    lag: f64,
    balance: Balance,
    /// For each gateway, the latest of its numbers that has come here.
    seen: Vec<usize>,
}

impl Burst {
    /// Prints the load of the fullest gateway over the mean, on average over the second half of the burst.
    pub(crate) fn run(&self) -> Result<()> {
        println!("{}", World::new(self).run()?);
        Ok(())
    }
}

struct World<'a> {
    burst: &'a Burst,
    random: Random,
    gateways: Vec<Gateway>,
    /// By microseconds; the number keeps the order of those at the same time.
    events: BinaryHeap<Reverse<(u64, u64, [usize; 2])>>,
    number: u64,
    started: usize,
    /// What was measured: sum and number.
    measured: (f64, f64),
}

impl<'a> World<'a> {
    fn new(burst: &'a Burst) -> Self {
        let mut random = Random::new(burst.seed);
        let gateway = |number: usize| Gateway {
            running: 0,
            written: vec![(0.0, 0)],
            lag: between(SEEN, &mut random),
            balance: Balance::new(Random::new(burst.seed.wrapping_mul(7919).wrapping_add(number as u64))),
            seen: vec![0; burst.gateways],
        };
        let gateways = (0..burst.gateways).map(gateway).collect();
        let (events, measured) = (BinaryHeap::new(), (0.0, 0.0));
        let mut world = Self { burst, random, gateways, events, number: 0, started: 0, measured };
        for _ in 0..burst.transfers {
            let moment = BEFORE + burst.seconds * world.random.fraction();
            world.later(moment, Event::Ask);
        }
        world
    }

    fn later(&mut self, moment: f64, event: Event) {
        let coded = match event {
            Event::Ask => [0, 0],
            Event::Start(gateway) => [1, gateway],
            Event::End(gateway) => [2, gateway],
        };
        self.number += 1;
        self.events.push(Reverse(((moment * 1e6) as u64, self.number, coded)));
    }

    fn run(mut self) -> Result<f64> {
        while let Some(Reverse((moment, _, event))) = self.events.pop() {
            let now = moment as f64 / 1e6;
            match event {
                [0, _] => self.ask(now)?,
                [1, gateway] => self.start(gateway, now)?,
                [_, gateway] => self.count(gateway, now, false)?,
            }
            if self.started == self.burst.transfers {
                break;
            }
        }
        Ok(self.measured.0 / self.measured.1)
    }

    /// A caller asks some gateway, and goes where it is sent.
    fn ask(&mut self, now: f64) -> Result<()> {
        let answerer = self.any();
        let known = self.known(answerer, now);
        let chosen = match self.burst.policy {
            Policy::Rsnap => {
                let gateway = self.gateways.get_mut(answerer).context("no such gateway")?;
                let chosen = gateway.balance.choose(&known, Duration::from_secs_f64(now)).context("nobody to name")?;
                known.iter().position(|candidate| candidate.address == chosen.address).context("a stranger")?
            }
            Policy::LeastConnections => self.fewest(&known),
            Policy::TwoChoices => {
                let (one, other) = (self.any(), self.any());
                let count = |number: usize| known.get(number).map_or(u64::MAX, |candidate| candidate.count);
                if count(one) <= count(other) { one } else { other }
            }
        };
        let moment = now + spread(STARTS, &mut self.random);
        self.later(moment, Event::Start(chosen));
        Ok(())
    }

    fn any(&mut self) -> usize {
        (self.random.fraction() * self.burst.gateways as f64) as usize
    }

    fn fewest(&mut self, known: &[Candidate]) -> usize {
        let least = known.iter().map(|candidate| candidate.count).min().unwrap_or_default();
        let equal: Vec<usize> =
            (0..known.len()).filter(|at| known.get(*at).is_some_and(|c| c.count == least)).collect();
        let chosen = (self.random.fraction() * equal.len() as f64) as usize;
        equal.get(chosen).copied().unwrap_or_default()
    }

    /// What a gateway knows of all, itself included.
    fn known(&mut self, answerer: usize, now: f64) -> Vec<Candidate> {
        let Some(own) = self.gateways.get_mut(answerer) else { return Vec::new() };
        let (mut seen, lag, running) = (std::mem::take(&mut own.seen), own.lag, own.running);
        let look = |(number, (gateway, seen)): (usize, (&Gateway, &mut usize))| {
            while gateway.written.get(*seen + 1).is_some_and(|(written, _)| written + lag <= now) {
                *seen += 1;
            }
            let (written, count) = gateway.written.get(*seen).copied().unwrap_or_default();
            let (heard, count) = if number == answerer { (now, running) } else { (written + lag, count) };
            Candidate { address: address(number), count, heard: Duration::from_secs_f64(heard) }
        };
        let known = self.gateways.iter().zip(&mut seen).enumerate().map(look).collect();
        if let Some(own) = self.gateways.get_mut(answerer) {
            own.seen = seen;
        }
        known
    }

    fn start(&mut self, gateway: usize, now: f64) -> Result<()> {
        self.started += 1;
        let end = now + spread(LASTS, &mut self.random);
        self.later(end, Event::End(gateway));
        self.count(gateway, now, true)?;
        if self.started > self.burst.transfers / 2 {
            let running = self.gateways.iter().map(|gateway| gateway.running);
            let mean = running.clone().sum::<u64>() as f64 / self.burst.gateways as f64;
            self.measured.0 += running.max().unwrap_or_default() as f64 / mean;
            self.measured.1 += 1.0;
        }
        Ok(())
    }

    fn count(&mut self, gateway: usize, now: f64, more: bool) -> Result<()> {
        let written = now + between(WRITTEN, &mut self.random);
        let gateway = self.gateways.get_mut(gateway).context("no such gateway")?;
        gateway.running = if more { gateway.running + 1 } else { gateway.running.saturating_sub(1) };
        let last = gateway.written.last().map_or(0.0, |(moment, _)| *moment);
        gateway.written.push((written.max(last), gateway.running));
        Ok(())
    }
}

fn address(number: usize) -> SocketAddr {
    let [_, high, middle, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)), 8443)
}

fn between((least, most): (f64, f64), random: &mut Random) -> f64 {
    least + (most - least) * random.fraction()
}

/// A log-normal number, by the method of Box and Muller.
fn spread((median, sigma): (f64, f64), random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - random.fraction()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * random.fraction()).cos();
    median * (sigma * normal).exp()
}
