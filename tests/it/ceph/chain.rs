//! Shows 1: thirty incrementals, taken while the volume is written to, arrive as they are; also when the gateway is
//! killed at random moments. `RSNAP_SEED` replays a run.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::support::{Site, succeeded};
use crate::support::{Diff, Gateway, Image, Options, next, seed, wait_for};

const LINKS: usize = 30;
const MIB: u64 = 1 << 20;
/// The volume grows and shrinks between these sizes; one is no multiple of anything.
const SIZES: [u64; 4] = [24 * MIB, 20 * MIB, 24 * MIB + 512, 28 * MIB];

/// A guest that writes to a volume until it is told to stop.
struct Guest {
    stop: Arc<AtomicBool>,
    /// How often it has written.
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Guest {
    fn start(site: &Site, image: &'static str, seed: u64) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (site, stopped, counter) = (site.clone(), Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut state = seed;
            while !stopped.load(Ordering::Relaxed) {
                // `import-diff` ignores that its resize failed because somebody makes a snapshot in this moment, and
                // then writes behind the end. What it has written by then is as good as any.
                if site.try_apply(image, &round(&mut state)).is_ok() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    /// Waits until it has begun and ended another round.
    fn wait(&self) {
        let seen = self.rounds.load(Ordering::Relaxed);
        wait_for("the guest's next write", || self.rounds.load(Ordering::Relaxed) > seen + 1);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the guest has failed");
    }
}

/// Some writes of any length at any place, in the order of their offsets; every fourth one of zeroes.
fn round(state: &mut u64) -> Vec<u8> {
    let size = SIZES[next(state) as usize % SIZES.len()];
    let mut diff = Diff::new(None, None, size);
    let mut position = 0;
    loop {
        position += next(state) % (4 * MIB);
        let length = 1 + next(state) % 300_000;
        if position + length > size {
            return diff.end();
        }
        diff = match next(state) % 4 {
            0 => diff.zero(position, length),
            _ => diff.write(position, &Image::random(length as usize, next(state)).bytes),
        };
        position += length;
    }
}

/// Sends a link of the chain, with the gateway killed at a random moment of the transfer. Gives how often the sender
/// tried again.
fn send_while_killed(source: &Site, gateway: &mut Gateway, name: &str, state: &mut u64) -> usize {
    let mut command = source.send(gateway, &format!("vol@{name}"), "v", name, &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sending = command.spawn().unwrap();
    wait_for("the transfer", || gateway.admin("/transfers").1.trim() != "[]" || sending.try_wait().unwrap().is_some());
    std::thread::sleep(Duration::from_millis(next(state) % 300));
    gateway.restart();
    let output = sending.wait_with_output().unwrap();
    let retries = String::from_utf8_lossy(&output.stdout).matches("\"retry\"").count();
    succeeded(output);
    retries
}

fn run(with_kills: bool) {
    let mut state = seed();
    let (source, target) = (Site::source(), Site::target());
    source.rbd("create @vol --size 24M --object-size 4M");
    let mut gateway = target.gateway_with("object_bytes = \"1MiB\"\n", Options::default());
    let guest = Guest::start(&source, "vol", next(&mut state));
    let (mut base, mut interrupted): (Option<String>, usize) = (None, 0);
    for link in 0..=LINKS {
        guest.wait();
        let name = format!("s{link:02}");
        source.rbd(&format!("snap create --no-progress @vol@{name}"));
        if with_kills && link % 3 == 2 {
            interrupted += usize::from(send_while_killed(&source, &mut gateway, &name, &mut state) > 0);
        } else {
            let sent = source.sent(&gateway, &name);
            assert_eq!(sent["base"].as_str(), base.as_deref(), "{sent}");
        }
        base = Some(name);
    }
    drop(guest);
    println!("{interrupted} transfers were interrupted by the death of the gateway");
    check(&source, &target);
}

fn check(source: &Site, target: &Site) {
    let (theirs, ours) = (source.snapshots("vol"), target.snapshots("volume-v"));
    let names: Vec<String> = theirs.iter().map(|listed| format!("snapshot-{}", listed.name)).collect();
    assert_eq!(ours.iter().map(|listed| listed.name.clone()).collect::<Vec<_>>(), names);
    for (at_source, at_target) in theirs.iter().zip(&ours) {
        let name = &at_source.name;
        assert_eq!(at_source.size, at_target.size, "{name}");
        let expected = source.digest(&format!("vol@{name}"));
        assert_eq!(target.digest(&format!("volume-v@snapshot-{name}")), expected, "{name}");
    }
    for (site, image, object_size) in [(source, "vol", 4 * MIB), (target, "volume-v", MIB)] {
        let information = site.json(&format!("info @{image}"));
        assert_eq!(information["object_size"], object_size, "{information}");
        // The guest may write behind the end of its volume, see above, and librbd then gives up the map of the source.
        if image != "vol" {
            assert_eq!(information["flags"], serde_json::json!([]), "the object map is invalid: {information}");
        }
        let features = information["features"].to_string();
        assert!(features.contains("object-map") && features.contains("fast-diff"), "{information}");
    }
}

#[test]
fn thirty_incrementals_of_a_volume_in_use_arrive_as_they_are() {
    run(false);
}

#[test]
fn thirty_incrementals_arrive_although_the_gateway_is_killed_in_every_third() {
    run(true);
}
