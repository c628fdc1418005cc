//! Shows 6: a transfer beside hostile guests is whole, and they take next to nothing of the processors from it.
//!
//! How much slower a transfer is beside them depends on what else the machine does, so that is printed and the guests'
//! own time on a core is what counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{path, plan, plugins, put, with_policy};
use crate::support::{Gateway, Image};

/// A new call of a guest begins this often, whatever became of the one before.
const EVERY: Duration = Duration::from_millis(100);
const PAIRS: usize = 10;
/// Time on a core, in seconds: what every call has for nothing with the tick that ends it (twice that, for what the clock
/// misses), what the plugin has saved, and what it earns in a second or saves anew.
const FREE: f64 = 0.020;
const SAVED: f64 = 1.0;
const EARNED: f64 = 0.05 + 0.01;
/// Long enough for each harm to happen beside it.
const BYTES: usize = 96 << 20;
const HARMS: [&str; 7] = ["loop", "memory", "trap", "huge reason", "huge line", "loop in host calls", "recursion"];

/// Runs `work` while a guest is called again and again, with one of `harms` after the other.
fn beside<T>(gateway: &Gateway, harms: &[&str], work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for harm in harms.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                scope.spawn(move || {
                    assert_eq!(plan(gateway, harm).status, if *harm == "none" { 200 } else { 500 }, "{harm}")
                });
                thread::sleep(EVERY);
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// The time of a transfer, and the root of what it stored.
fn transfer(gateway: &Gateway, name: &str, image: &Image) -> (Duration, String) {
    let start = Instant::now();
    let answer = put(gateway, name, "t1", &image.bytes).expect(201).json();
    let time = start.elapsed();
    gateway.client().request("DELETE", &path(name, "t1"), &[], &[]).expect(204);
    (time, answer["root"].to_string())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn hostile_guests_cost_a_transfer_nothing() {
    let gateway = with_policy("hostile-policy", "call_timeout = \"1s\"\nmemory = \"32MiB\"\n");
    let image = Image::random(BYTES, 4);
    let (_, root) = transfer(&gateway, "warm-up", &image);
    let timed = |harms: &[&str], name: String| {
        let (time, stored) = beside(&gateway, harms, || transfer(&gateway, &name, &image));
        assert_eq!(stored, root, "{name}");
        time
    };
    let (mut tame, mut hostile) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for pair in 0..PAIRS {
        tame.push(timed(&["none"], format!("tame-{pair}")));
        hostile.push(timed(&HARMS, format!("hostile-{pair}")));
    }
    let time = start.elapsed().as_secs_f64();
    let (tame, hostile) = (median(&mut tame), median(&mut hostile));
    println!("a transfer takes {tame:?} beside a well-behaved guest and {hostile:?} beside hostile ones");
    let policy = &plugins(&gateway)[1];
    let (calls, used) = (policy["calls"].as_f64().unwrap(), policy["guest_seconds"].as_f64().unwrap());
    let may = SAVED + time * EARNED + calls * FREE;
    println!("the guests were on a core for {used:.2} s of {time:.2} s, in {calls} calls; at most {may:.2} s");
    assert!(policy["traps"].as_u64().unwrap() > 10 && policy["limit_hits"]["time"].as_u64().unwrap() > 0, "{policy}");
    assert!(used <= may, "the guests were on a core for {used} s, which is more than {may} s");
}
