//! A long line: packets between two network interfaces, late, at most so many bytes a second, and some of them lost.
//!
//! For kernels without netem, which would do the same. The interfaces are TUN devices: what a kernel sends into one is read
//! here and comes out of the other. Each of the ends belongs into a network namespace of its own; to put them there and to
//! give them addresses is left to the caller, as is removing them, which happens by itself when this process ends.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tun_rs::{DeviceBuilder, SyncDevice};

/// Bytes of the longest packet, as on a line and not as on loopback.
const PACKET: u16 = 1500;
/// Packets that an interface keeps for us while we do not get to run.
const QUEUE: u32 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Line {
    /// Names of the two interfaces, which are made
    #[arg(num_args = 2, required = true)]
    ends: Vec<String>,
    /// Of each way, in milliseconds; a round trip takes twice as long
    #[arg(long)]
    delay: u64,
    /// Bytes a second of each way
    #[arg(long)]
    rate: f64,
    /// One of so many packets is lost
    #[arg(long)]
    lost: u64,
    /// How long packets queue before the line, in milliseconds; what would wait longer is lost
    #[arg(long)]
    queue: u64,
    /// Which packets are lost follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type Late = (Instant, Vec<u8>);

impl Line {
    /// Carries packets until it is killed.
    pub(crate) fn carry(&self) -> Result<()> {
        let ends = self.ends.iter().map(|name| interface(name)).collect::<Result<Vec<_>>>()?;
        let [one, other] = ends.as_slice() else { return Err(anyhow!("a line has two ends")) };
        let mut ways = Vec::new();
        for (number, (from, to)) in [(one, other), (other, one)].into_iter().enumerate() {
            let (sender, receiver) = channel();
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let shape = Shape::new(self, number as u64);
            ways.push(spawn(move || take(&from, shape, &sender)));
            ways.push(spawn(move || deliver(&to, &receiver)));
        }
        ways.into_iter().try_for_each(ended)
    }
}

fn interface(name: &str) -> Result<Arc<SyncDevice>> {
    let builder = DeviceBuilder::new().name(name).mtu(PACKET).tx_queue_len(QUEUE).enable(false);
    Ok(Arc::new(builder.build_sync().with_context(|| format!("cannot make the TUN device {name}"))?))
}

fn ended(way: JoinHandle<io::Result<()>>) -> Result<()> {
    let result = way.join().map_err(|_| anyhow!("a thread of the line ended badly"))?;
    result.context("the line broke")
}

/// When a packet arrives at the other end, if it does.
struct Shape {
    delay: Duration,
    rate: f64,
    lost: u64,
    queue: Duration,
    state: u64,
    busy_until: Instant,
}

impl Shape {
    fn new(line: &Line, way: u64) -> Self {
        Self {
            delay: Duration::from_millis(line.delay),
            rate: line.rate,
            lost: line.lost,
            queue: Duration::from_millis(line.queue),
            state: line.seed ^ (way + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            busy_until: Instant::now(),
        }
    }

    fn arrival(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let start = self.busy_until.max(now);
        if start.duration_since(now) > self.queue {
            return None;
        }
        self.busy_until = start + Duration::from_secs_f64(length as f64 / self.rate);
        (!self.next().is_multiple_of(self.lost)).then(|| self.busy_until + self.delay)
    }

    /// splitmix64, <https://prng.di.unimi.it/splitmix64.c>
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

fn take(from: &SyncDevice, mut shape: Shape, late: &Sender<Late>) -> io::Result<()> {
    let mut buffer = vec![0; usize::from(PACKET)];
    loop {
        let length = patiently(|| from.recv(&mut buffer))?;
        let Some(due) = shape.arrival(Instant::now(), length) else { continue };
        let packet = buffer.get(..length).unwrap_or_default().to_vec();
        if late.send((due, packet)).is_err() {
            return Ok(());
        }
    }
}

fn deliver(to: &SyncDevice, late: &Receiver<Late>) -> io::Result<()> {
    for (due, packet) in late {
        sleep(due.saturating_duration_since(Instant::now()));
        patiently(|| to.send(&packet))?;
    }
    Ok(())
}

/// An interface that is not up yet, or moves to another namespace, answers EIO.
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const EIO: i32 = 5;
    const EBADFD: i32 = 77;
    loop {
        match attempt() {
            Err(error) if matches!(error.raw_os_error(), Some(EIO | EBADFD)) => sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(lost: u64) -> Shape {
        let ends = vec!["a".to_owned(), "b".to_owned()];
        Shape::new(&Line { ends, delay: 75, rate: 1e6, lost, queue: 100, seed: 1 }, 0)
    }

    #[test]
    fn packets_go_one_after_the_other_and_arrive_late() {
        let mut shape = shape(u64::MAX);
        let now = shape.busy_until;
        assert_eq!(shape.arrival(now, 1000).unwrap() - now, Duration::from_millis(76));
        assert_eq!(shape.arrival(now, 1000).unwrap() - now, Duration::from_millis(77));
        let later = now + Duration::from_secs(1);
        assert_eq!(shape.arrival(later, 1000).unwrap() - later, Duration::from_millis(76));
    }

    #[test]
    fn what_would_wait_too_long_is_lost() {
        let mut shape = shape(u64::MAX);
        let now = shape.busy_until;
        let arrived = (0..200).filter(|_| shape.arrival(now, 1000).is_some()).count();
        assert_eq!(arrived, 101);
    }

    #[test]
    fn one_of_so_many_is_lost() {
        let mut shape = shape(1000);
        let arrived = (0..100_000).filter(|_| shape.arrival(shape.busy_until, 1).is_some()).count();
        assert!((99_850..99_950).contains(&arrived), "{arrived}");
    }
}
