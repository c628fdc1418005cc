//! A rolling restart of three gateways behind the balancer, while senders send without a pause.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::balancer::Balancer;
use super::site::{Caller, Site};
use crate::support::{Image, wait_for};

const SENDERS: u64 = 3;
const SIZE: usize = 16 << 20;
/// The first and the last gateway cut what runs at once; the one between lets it finish.
const DRAINS: [&str; 3] = ["0s", "120s", "0s"];

#[derive(Debug)]
struct Sent {
    volume: String,
    snapshot: String,
    image: u64,
    changes: usize,
    retries: usize,
}

/// What is sent: a snapshot, and one with changes since it.
fn image(seed: u64, changes: usize) -> Image {
    Image::random(SIZE, seed).changed(seed, changes)
}

#[test]
fn a_rolling_restart_loses_no_transfer() {
    let listen = DRAINS.map(|drain| format!("drain_notice = \"100ms\"\ndrain_timeout = \"{drain}\"\n"));
    let mut site = Site::start_each(&listen);
    let balancer = Balancer::start(&site, "passthrough");
    let senders: Vec<_> = (0..SENDERS).map(|number| Sender::start(&site, &balancer, number)).collect();
    for (gateway, drain) in DRAINS.iter().enumerate() {
        let held = (*drain == "0s").then(|| hold_a_transfer(&site, &senders, gateway));
        wait_for("a transfer to the gateway", || !receiving(&site, gateway).is_empty());
        site.gateways[gateway].signal("TERM");
        assert!(site.gateways[gateway].wait().success());
        drop(held);
        site.gateways[gateway].restart();
        wait_for("the return of the gateway", || balancer.is_up(gateway));
    }
    let sent: Vec<Sent> = senders.into_iter().flat_map(Sender::finish).collect();
    let retries: usize = sent.iter().map(|sent| sent.retries).sum();
    println!("{} transfers during a rolling restart, {retries} tries after the first", sent.len());
    assert!(retries >= 2, "{retries} tries: not every hard stop has cut a transfer");
    for sent in &sent {
        check(&site, &balancer, sent);
    }
}

/// Volume and received bytes of each transfer that this gateway receives now.
fn receiving(site: &Site, gateway: usize) -> Vec<(String, u64)> {
    let page: serde_json::Value = serde_json::from_str(&site.gateways[gateway].admin("/transfers").1).unwrap();
    let row = |row: &serde_json::Value| (row["volume"].as_str().unwrap().to_owned(), row["received_bytes"].as_u64());
    page.as_array().unwrap().iter().map(row).filter_map(|(volume, received)| Some((volume, received?))).collect()
}

/// Stops a sender in the middle of a body to this gateway, as a long way between the sites would.
fn hold_a_transfer<'a>(site: &Site, senders: &'a [Sender], gateway: usize) -> Held<'a> {
    let mut found = None;
    wait_for("a transfer in the middle of its body", || {
        found = senders.iter().find_map(|sender| {
            let mine = || receiving(site, gateway).into_iter().find(|(volume, _)| sender.owns(volume));
            mine()?;
            let held = sender.hold()?;
            std::thread::sleep(std::time::Duration::from_millis(300));
            let before = mine()?;
            std::thread::sleep(std::time::Duration::from_millis(300));
            (mine()? == before && before.1 > 0).then_some(held)
        });
        found.is_some()
    });
    found.unwrap()
}

/// Sends snapshot after snapshot until told to stop; the first that is lost fails it.
struct Sender {
    number: u64,
    /// The process that sends now.
    process: Arc<Mutex<Option<u32>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sent>>,
}

/// A sender's process that stands still as long as this lives.
struct Held<'a> {
    process: MutexGuard<'a, Option<u32>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        signal(self.process.unwrap(), "CONT");
    }
}

fn signal(process: u32, name: &str) {
    Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
}

impl Sender {
    fn start(site: &Site, balancer: &Balancer, number: u64) -> Self {
        let folder = site.path(&format!("sender{number}"));
        std::fs::create_dir(&folder).unwrap();
        let (stop, process) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut work = Work { number, folder, caller: site.caller(balancer.address), process: Arc::clone(&process) };
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut sent = Vec::new();
            for volume in 0.. {
                if told.load(Ordering::SeqCst) {
                    break;
                }
                sent.extend([0, 5].map(|changes| work.send(volume, changes)));
            }
            sent
        });
        Self { number, process, stop, thread }
    }

    fn owns(&self, volume: &str) -> bool {
        volume.starts_with(&format!("v{}-", self.number))
    }

    /// `None` between two processes.
    fn hold(&self) -> Option<Held<'_>> {
        let process = self.process.lock().unwrap();
        signal((*process)?, "STOP");
        Some(Held { process })
    }

    fn finish(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

struct Work {
    number: u64,
    folder: PathBuf,
    caller: Caller,
    process: Arc<Mutex<Option<u32>>>,
}

impl Work {
    fn send(&mut self, volume: u64, changes: usize) -> Sent {
        let seed = self.number << 32 | volume;
        let volume = format!("v{}-{volume}", self.number);
        let snapshot = if changes == 0 { "full" } else { "change" };
        let file = self.folder.join(snapshot);
        std::fs::write(&file, &image(seed, changes).bytes).unwrap();
        let mut command = self.caller.command(&["send", "--json", "--volume", &volume, "--snapshot", snapshot]);
        command.arg(&file);
        if changes > 0 {
            command.arg("--base").arg(format!("full={}", self.folder.join("full").display()));
        }
        let retries = self.run(&mut command);
        Sent { volume, snapshot: snapshot.to_owned(), image: seed, changes, retries }
    }

    /// The number of times that it was tried again.
    fn run(&mut self, command: &mut Command) -> usize {
        let (told, errors) = (self.folder.join("told"), self.folder.join("errors"));
        command.stdout(File::create(&told).unwrap()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        *self.process.lock().unwrap() = Some(child.id());
        let ended = wait(&mut child, &self.process);
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(ended, "a transfer was lost: {}\n{}", read(&errors), read(&told));
        read(&told).lines().filter(|line| line.contains("\"event\":\"retry\"")).count()
    }
}

/// Waits for the end, and forgets the process before its id can be another's. Whether it was a success.
fn wait(child: &mut Child, process: &Mutex<Option<u32>>) -> bool {
    loop {
        let mut process = process.lock().unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            *process = None;
            return status.success();
        }
        drop(process);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn check(site: &Site, balancer: &Balancer, sent: &Sent) {
    let back = site.path("back.raw");
    let into = back.to_str().unwrap();
    let arguments = ["restore", "--force", "--volume", &sent.volume, "--snapshot", &sent.snapshot, into];
    let output = site.caller(balancer.address).command(&arguments).output().unwrap();
    assert!(output.status.success(), "{sent:?}: {}", String::from_utf8_lossy(&output.stderr));
    let same = std::fs::read(&back).unwrap() == image(sent.image, sent.changes).bytes;
    assert!(same, "{sent:?} is not what was sent");
}
