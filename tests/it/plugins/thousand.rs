//! Shows 3: a thousand hostile guests while transfers run. None of the transfers is lost, and when all have ended the
//! gateway's memory is back where it was.
//!
//! What they are: the harms that people thought of, each a guest of its own for each call, and random components that are
//! loaded one after the other in the place of the resolver. How much slower transfers are beside them is a row of the
//! benchmarks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{path, plan, plugins, put};
use crate::support::{Gateway, Image, Options, admin_ask, components, wait_for};

/// Guests of each sort.
const CALLS: usize = 584;
const TRANSFERS: usize = 112;
const RANDOM: usize = 300;
const _: () = assert!(CALLS + TRANSFERS + RANDOM + LOOPS.len() == 1000 && TRANSFERS.is_multiple_of(WRITER.len()));
/// Harms of the policy `hostile-policy`, by what the sender says.
const POLICY: [&str; 7] = ["trap", "memory", "huge reason", "huge line", "recursion", "long reason", "impossible base"];
/// Those that last until their time is over, which must be long enough for a call that means well on a busy machine.
const LOOPS: [&str; 4] = ["loop", "loop in host calls", "loop", "loop in host calls"];
/// Harms of the writer `hostile-writer`, by its settings.
const WRITER: [&str; 14] = [
    "trap",
    "trap with image",
    "other image",
    "other store",
    "impossible name",
    "twice",
    "no image",
    "trap in write",
    "storage calls",
    "hoard",
    "forged handle",
    "handle of another kind",
    "dropped twice",
    "huge list",
];
/// What a gateway at rest may be larger by: threads that live for ever, and pieces of memory that lie between others. It
/// is less than what two of a thousand guests may have.
const SLACK: u64 = 24 << 20;

struct Site {
    gateway: Gateway,
    configuration: String,
    resolver: PathBuf,
    /// Who changes files and has them read again: a reload takes all or nothing.
    files: Mutex<()>,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let resolver = folder.path().join("resolver.wasm");
        fs::copy(components("plugins").join("static.wasm"), &resolver).unwrap();
        let limits = |time| format!("memory = \"16MiB\"\ncall_timeout = \"{time}\"");
        let (patient, impatient) = (limits("10s"), limits("150ms"));
        let extra = format!("{patient}\n[plugins.resolver]\ncomponent = \"{}\"\n{impatient}\n", resolver.display());
        let options = Options {
            writer: Some(format!(
                "component = \"hostile-writer\"\nstores = [\"main\"]\n{patient}\nsettings = {{ harm = \"none\" }}"
            )),
            policy: Some("hostile-policy".to_owned()),
            extra,
            ..Options::default()
        };
        let gateway = Gateway::start_with(&options);
        let configuration = fs::read_to_string(gateway.data.join("rsnap.toml")).unwrap();
        Self { gateway, configuration, resolver, files: Mutex::default(), _folder: folder }
    }

    /// Bytes of the gateway in memory when it has come to rest after what was done before.
    fn resident_at_rest(&self) -> u64 {
        let rests = || self.gateway.log().matches("at rest: gave memory back").count();
        let before = rests();
        self.good_transfer(9, 1);
        wait_for("the gateway to come to rest", || rests() > before);
        self.gateway.resident()
    }

    /// Loads a resolver in the place of the one before; says whether it could be loaded.
    fn resolve_with(&self, component: &Path) -> bool {
        let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.install(component);
        self.reload()
    }

    fn install(&self, component: &Path) {
        let next = self.resolver.with_extension("next");
        fs::copy(component, &next).unwrap();
        fs::rename(&next, &self.resolver).unwrap();
    }

    fn reload(&self) -> bool {
        let (status, body) = admin_ask(self.gateway.admin, "POST", "/reload").unwrap();
        assert!(status == 200 || status == 422, "{body}");
        status == 200
    }

    /// Lets the writer do another harm, beside a resolver that can be loaded.
    fn writer_harms(&self, harm: &str) {
        let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.install(&components("plugins").join("static.wasm"));
        let text = self.configuration.replace("harm = \"none\"", &format!("harm = \"{harm}\""));
        fs::write(self.gateway.data.join("rsnap.toml"), text).unwrap();
        // On a busy machine the resolver's short time may be over before it has looked at its settings.
        wait_for(harm, || self.reload());
    }

    /// A transfer of a snapshot that no harm is done to: it must be there, whatever happens beside it.
    fn good_transfer(&self, worker: usize, turn: u32) {
        let image = Image::random((3 << 20) + 4096 * turn as usize, u64::from(turn) + 1);
        let (volume, snapshot) = (format!("good-{worker}"), format!("good-{turn}"));
        put(&self.gateway, &volume, &snapshot, &image.bytes).expect(201);
        assert!(self.gateway.client().get(&path(&volume, &snapshot)).expect(200).body == image.bytes);
        self.gateway.client().request("DELETE", &path(&volume, &snapshot), &[], &[]).expect(204);
    }
}

/// Random components in the place of the resolver. Those that cannot be loaded leave the one before in place.
fn random_guests(site: &Site) -> usize {
    let folder = components("corpus").join("site-resolver");
    let mut loaded = 0;
    for seed in 0..RANDOM {
        loaded += usize::from(site.resolve_with(&folder.join(format!("{seed:04}.wasm"))));
        let status = site.gateway.client().get("/v1/sites/dc1").status;
        assert!([200, 404, 500, 503].contains(&status), "component {seed}: {status}");
    }
    loaded
}

/// The harms that people thought of.
fn hostile_guests(site: &Site) {
    let image = Image::random(2 << 20, 7);
    for number in 0..CALLS {
        let harm = POLICY[number % POLICY.len()];
        let status = plan(&site.gateway, harm).status;
        assert!([500, 503].contains(&status), "{harm}: {status}");
    }
    for (number, harm) in WRITER.iter().enumerate() {
        site.writer_harms(harm);
        for turn in 0..TRANSFERS / WRITER.len() {
            let status =
                put(&site.gateway, &format!("bad-{}", turn % 2), &format!("s{number}-{turn}"), &image.bytes).status;
            assert!([500, 503].contains(&status), "{harm}: {status}");
        }
    }
}

/// A thousand guests beside transfers, until all guests are gone: how many transfers, and how many random components.
fn thousand(site: &Site) -> (u32, usize) {
    let (stop, transfers) = (AtomicBool::new(false), AtomicU32::new(0));
    let loaded = thread::scope(|scope| {
        let workers = [1, 2].map(|worker| {
            let (stop, transfers) = (&stop, &transfers);
            scope.spawn(move || {
                for turn in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    site.good_transfer(worker, turn % 8);
                    transfers.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for harm in LOOPS {
            scope.spawn(move || assert_eq!(plan(&site.gateway, harm).status, 500, "{harm}"));
        }
        let random = scope.spawn(|| random_guests(site));
        let hostile = scope.spawn(|| hostile_guests(site));
        // The workers must end also when one of these fails.
        let ended = (random.join(), hostile.join());
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        ended.1.unwrap();
        ended.0.unwrap()
    });
    let idle = || plugins(&site.gateway).iter().all(|plugin| plugin["instances"] == 0 && plugin["memory_bytes"] == 0);
    wait_for("the end of all guests", idle);
    (transfers.into_inner(), loaded)
}

#[test]
fn a_thousand_hostile_guests_lose_no_transfer_and_leave_no_memory_behind() {
    let site = Site::start();
    // What the first transfers and the first of the harms allocate for good is no leak.
    for turn in 0..4 {
        site.good_transfer(0, turn);
    }
    POLICY.iter().for_each(|harm| drop(plan(&site.gateway, harm)));
    let before = site.resident_at_rest();
    let (transfers, loaded) = thousand(&site);
    assert!(transfers > 10 && loaded > RANDOM / 20, "{transfers} transfers, {loaded} random components were loaded");
    let (peak, after) = (site.gateway.resident(), site.resident_at_rest());
    println!(
        "{transfers} transfers beside 1000 guests; resident before {before}, with the last of them {peak}, at rest again \
         {after}; {loaded} random components loaded"
    );
    assert!(after <= before + SLACK, "the gateway has grown from {before} to {after} bytes");
    site.writer_harms("none");
    assert_eq!(site.gateway.admin("/readyz").0, 200);
    site.good_transfer(3, 1);
}
