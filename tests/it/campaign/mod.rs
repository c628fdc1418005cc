//! Hundreds of real faults while real senders copy snapshots through three gateways that share one backend.
//!
//! Nothing is simulated: `rsnap send` asks at a balancer, is named a gateway by the group's etcd, and reaches it through a
//! proxy that can be slow, silent, cut or lose what comes back. Gateways are killed, and stopped until their leases have
//! lapsed and then wake up; senders are killed and put to sleep; the storage fills up. Which fault comes when, and what is
//! sent, follows from the seed alone: it is printed, and `RSNAP_SEED` takes it again. How the processes meet it is theirs.
//! `RSNAP_FAULTS` asks for more faults than the suite has time for.
//!
//! What must hold, looked at after each transfer (`lane`) and at the end (`backend`): it ends committed with the content
//! of its source, or says why not, and then the same command succeeds; committed snapshots are what they were; nothing
//! that was durable is sent again, and of what was on its way no more than a window for each stream and break; and
//! nothing stays behind.

mod backend;
mod disk;
mod fault;
mod harm;
mod lane;
mod scene;
mod sender;
mod source;

use std::any::Any;
use std::thread;

use backend::{Backend, Ceph, Files};
use lane::Lane;
use scene::Scene;

/// Transfers at a time, each of a volume of its own.
const LANES: usize = 6;
/// Faults that strike, in a run of the suite.
const FAULTS: usize = 200;

fn run(backend: impl Backend + 'static) {
    let faults = std::env::var("RSNAP_FAULTS").ok().and_then(|count| count.parse().ok()).unwrap_or(FAULTS);
    let mut last = LastWord::default();
    let scene = Scene::new(Box::new(backend), faults);
    thread::scope(|threads| {
        let scene = &scene;
        let lanes: Vec<_> = (0..LANES).map(|number| threads.spawn(move || Lane::new(scene, number).run())).collect();
        threads.spawn(|| {
            harm::go_on(scene);
            scene.calm_down();
        });
        for lane in lanes {
            if let Err(reason) = lane.join() {
                last.0.push(text(&*reason));
                scene.give_up();
            }
        }
    });
    assert!(!scene.has_failed(), "seed {}: {}", scene.seed, scene.history());
    println!("{}", scene.history());
}

/// Why it failed, told again behind the logs of the gateways, which are long.
#[derive(Default)]
struct LastWord(Vec<String>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.iter().for_each(|reason| eprintln!("--- {reason}"));
    }
}

fn text(reason: &(dyn Any + Send)) -> String {
    let text = reason.downcast_ref::<String>().map(String::as_str).or(reason.downcast_ref::<&str>().copied());
    text.unwrap_or("a lane has failed").to_owned()
}

#[test]
fn three_gateways_on_files_outlive_every_fault() {
    run(Files::new());
}

#[test]
fn three_gateways_on_ceph_outlive_every_fault() {
    run(Ceph::new());
}
