//! Doing harm.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::fault::{Fault, Kind};
use super::scene::Scene;
use crate::support::Proxy;

/// The next fault comes even if nothing is sent.
const PAUSE: Duration = Duration::from_secs(1);
/// Faults at a time.
const AT_ONCE: usize = 6;
/// How long a fault waits for what it needs to strike.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// What can be wrong only once at a time.
#[derive(Default)]
struct Single {
    answers: Mutex<()>,
    storage: Mutex<()>,
}

/// One fault after the other, until it is enough.
pub fn go_on(scene: &Scene) {
    let (single, running) = (Single::default(), AtomicUsize::new(0));
    thread::scope(|threads| {
        for number in 0.. {
            let fault = Fault::of(scene.seed, number);
            scene.meter.wait(scene.meter.bytes() + fault.after, PAUSE);
            while running.load(Ordering::SeqCst) >= AT_ONCE && !scene.is_over() {
                sleep(LOOK);
            }
            if scene.is_over() {
                break;
            }
            running.fetch_add(1, Ordering::SeqCst);
            let (single, running) = (&single, &running);
            threads.spawn(move || {
                match catch_unwind(AssertUnwindSafe(|| strike(scene, single, &fault))) {
                    Ok(true) => scene.strikes(fault.kind.name()),
                    Ok(false) => scene.tell("(missed)", 1),
                    // A gateway that ended by itself, or does not start again.
                    Err(_) => scene.give_up(),
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

/// False: there was nothing to be harmed.
fn strike(scene: &Scene, single: &Single, fault: &Fault) -> bool {
    let proxy = &scene.proxies[fault.gateway];
    match fault.kind {
        Kind::Kill { down } => kill(scene, fault.gateway, down),
        Kind::Stop { asleep, silent, in_order } => stop(scene, fault.gateway, asleep, silent, in_order),
        Kind::Reset => wait(scene, || proxy.reset() > 0),
        Kind::CutAfter { bytes } => {
            proxy.limit_next(Some(bytes));
            let has_come = wait(scene, || proxy.has_limited());
            proxy.limit_next(None);
            has_come
        }
        Kind::Delay { by, time } => {
            let is_used = wait(scene, || proxy.connections() > 0);
            proxy.delay(by);
            sleep(time);
            proxy.pass();
            is_used
        }
        Kind::Silence { time } => {
            let is_used = wait(scene, || proxy.connections() > 0);
            proxy.hold();
            sleep(time);
            proxy.reset();
            proxy.pass();
            is_used
        }
        Kind::LostAnswer => {
            let Ok(_alone) = single.answers.try_lock() else { return false };
            proxy.lose_answer();
            let has_lost = wait(scene, || proxy.has_lost());
            proxy.pass_answers();
            has_lost
        }
        Kind::LostCommit { lane } => {
            let Ok(_alone) = single.answers.try_lock() else { return false };
            let has_lost = lose_commit(scene, lane);
            scene.proxies.iter().for_each(Proxy::pass_answers);
            has_lost
        }
        Kind::Full => {
            let Ok(_alone) = single.storage.try_lock() else { return false };
            fill(scene)
        }
        Kind::SenderDeath { lane } => wait(scene, || scene.senders[lane].kill()),
        Kind::SenderSleep { lane, asleep } => {
            let is_there = wait(scene, || scene.senders[lane].signal("STOP"));
            sleep(asleep);
            // Another one may be there by now; it does no harm.
            scene.senders[lane].signal("CONT");
            is_there
        }
    }
}

fn wait(scene: &Scene, mut happened: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !happened() {
        if begun.elapsed() > PATIENCE || scene.has_failed() {
            return false;
        }
        sleep(LOOK);
    }
    true
}

fn kill(scene: &Scene, wanted: usize, down: Duration) -> bool {
    let Some((number, mut gateway)) = scene.take_away(wanted) else { return false };
    gateway.kill();
    sleep(down);
    gateway.restart();
    scene.give_back(number);
    true
}

fn stop(scene: &Scene, wanted: usize, asleep: Duration, silent: Duration, in_order: bool) -> bool {
    let Some((number, gateway)) = scene.take_away(wanted) else { return false };
    let proxy = &scene.proxies[number];
    gateway.signal("STOP");
    sleep(silent);
    proxy.close(true);
    // In order: what was on its way is still there for the gateway when it wakes up.
    if in_order {
        proxy.cut();
    } else {
        proxy.reset();
    }
    sleep(asleep.saturating_sub(silent));
    gateway.signal("CONT");
    proxy.close(false);
    scene.give_back(number);
    true
}

/// Keeps back whatever came after the last time that the snapshot was seen not to be there, and loses it when it is: the
/// answer to its commit cannot have come earlier.
fn lose_commit(scene: &Scene, lane: usize) -> bool {
    let wanted = scene.current[lane].lock().unwrap().clone();
    let Some((volume, snapshot)) = wanted.split_once('/') else { return false };
    if scene.is_committed(volume, snapshot) {
        return false;
    }
    let mut lost = false;
    wait(scene, || {
        let asked = Instant::now();
        let is_there = scene.is_committed(volume, snapshot);
        if is_there {
            lost = scene.proxies.iter().map(Proxy::reset).sum::<usize>() > 0;
        } else {
            scene.proxies.iter().for_each(|proxy| proxy.keep_since(asked));
        }
        is_there || *scene.current[lane].lock().unwrap() != wanted
    });
    lost
}

/// Until a sender has complained.
fn fill(scene: &Scene) -> bool {
    let told = scene.fulls_told.load(Ordering::SeqCst);
    scene.is_full.store(true, Ordering::SeqCst);
    scene.fulls.fetch_add(1, Ordering::SeqCst);
    scene.backend.fill();
    let was_told = wait(scene, || scene.fulls_told.load(Ordering::SeqCst) > told);
    scene.backend.drain();
    scene.is_full.store(false, Ordering::SeqCst);
    was_told
}
