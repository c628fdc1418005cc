//! Gateways are killed, leaders are killed, cables are pulled, and all the while 500 snapshots are sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::etcd::Security;
use super::network::Network;
use super::{Etcd, Group, wait_for};
use crate::deploy::site::Site;
use crate::support::{Client, Gateway, Image, Upload};

const GATEWAYS: usize = 4;
const SNAPSHOTS: usize = 500;
const SENDERS: usize = 6;
const TTL: Duration = Duration::from_secs(5);
/// How long one snapshot may take with all that happens.
const PATIENCE: Duration = Duration::from_secs(300);
/// Transfers that still run at the end.
const LEFT: usize = 5;
/// How often gateways are killed, and etcd is harmed, at least.
const ROUNDS: usize = 4;

/// Numbers from a seed that is printed, so that a run can be repeated as far as the machine allows.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pause(&mut self, least: u64, most: u64) {
        thread::sleep(Duration::from_millis(least + self.roll((most - least) as usize) as u64));
    }
}

struct Victim {
    gateway: Gateway,
    dead_since: Option<Instant>,
}

struct Scene {
    victims: Vec<Mutex<Victim>>,
    addresses: Vec<SocketAddr>,
    clients: Vec<Client>,
    endpoints: Vec<String>,
    all_sent: AtomicBool,
    over: AtomicBool,
    sent: AtomicUsize,
    /// What must not have been seen.
    faults: Mutex<Vec<String>>,
}

impl Scene {
    fn victim(&self, number: usize) -> MutexGuard<'_, Victim> {
        self.victims[number].lock().unwrap()
    }

    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    /// Sends one snapshot, to whom `/server` names, as often as it takes.
    fn send(&self, number: usize, dice: &mut Dice) {
        let image = Image::random(64 << 10, number as u64);
        let path = format!("/v1/volumes/v{number}/snapshots/s");
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "snapshot {number} was not taken by anyone");
            let asked = &self.clients[dice.roll(GATEWAYS)];
            let Ok(answer) = asked.try_get("/server") else { continue };
            let server = answer.json()["server"].as_str().unwrap_or_default().parse::<SocketAddr>();
            let named = self.addresses.iter().position(|address| Ok(address) == server.as_ref());
            let client = &self.clients[named.expect("a gateway of this site was named")];
            let upload = Upload { path: path.clone(), body: &image.bytes, ..Upload::default() };
            let Ok(mut put) = client.try_begin_put(&upload) else { continue };
            let half = image.bytes.len() / 2;
            if put.send(&image.bytes[..half]).is_err() {
                continue;
            }
            dice.pause(0, 200);
            if put.send(&image.bytes[half..]).is_err() {
                continue;
            }
            if put.answer().is_ok_and(|answer| matches!(answer.status, 200 | 201)) {
                self.sent.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }

    /// Harms until all is sent, and often enough.
    fn harm(&self, mut once: impl FnMut()) -> usize {
        let mut rounds = 0;
        while rounds < ROUNDS || !self.all_sent.load(Ordering::SeqCst) {
            once();
            rounds += 1;
        }
        rounds
    }

    /// Kills gateways, and starts them again before or after their leases lapse.
    fn kill_gateways(&self, mut dice: Dice) -> usize {
        self.harm(|| {
            dice.pause(300, 2_000);
            let number = dice.roll(GATEWAYS);
            {
                let mut victim = self.victim(number);
                victim.gateway.kill();
                victim.dead_since = Some(Instant::now());
            }
            dice.pause(100, 9_000);
            let mut victim = self.victim(number);
            victim.gateway.restart();
            victim.dead_since = None;
        })
    }

    /// Kills leaders and pulls cables.
    fn harm_etcd(&self, etcd: &mut Etcd, network: &Network, mut dice: Dice) -> usize {
        self.harm(|| {
            dice.pause(500, 2_000);
            let leader = etcd.leader();
            match dice.roll(3) {
                0 => {
                    etcd.kill(leader);
                    dice.pause(500, 3_000);
                    etcd.restart_by(leader, network.program(leader));
                }
                1 => {
                    let member = if dice.roll(2) == 0 { leader } else { dice.roll(etcd.len()) };
                    network.cut(member);
                    dice.pause(1_000, 7_000);
                    network.mend(member);
                }
                _ => {
                    etcd.signal(leader, "STOP");
                    dice.pause(500, 7_000);
                    etcd.signal(leader, "CONT");
                }
            }
        })
    }

    /// Looks at etcd and at the answers, all the time.
    fn look(&self) -> (usize, usize) {
        let (mut counts, mut answers) = (0, 0);
        while !self.over.load(Ordering::SeqCst) {
            for (server, value) in self.servers() {
                counts += 1;
                if value.parse::<usize>().map_or(true, |count| count > SENDERS) {
                    self.fault(format!("the count of {server} is {value}"));
                }
            }
            for client in &self.clients {
                let begun = Instant::now();
                let Ok(answer) = client.try_get("/server") else { continue };
                answers += 1;
                let server = answer.json()["server"].as_str().unwrap_or_default().to_owned();
                let named = self.addresses.iter().position(|address| address.to_string() == server);
                let dead = named.and_then(|named| self.dead_since(named));
                let dead_for = dead.map(|since| begun.saturating_duration_since(since));
                if dead_for.is_some_and(|time| time > TTL) {
                    self.fault(format!("{server} was named, dead for {dead_for:?}"));
                }
            }
        }
        (counts, answers)
    }

    /// A gateway that is being killed or started is neither.
    fn dead_since(&self, number: usize) -> Option<Instant> {
        self.victims[number].try_lock().ok()?.dead_since
    }

    /// What some member holds, however old.
    fn servers(&self) -> BTreeMap<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = etcd_client::GetOptions::new().with_prefix().with_serializable();
        let mut found = BTreeMap::new();
        for endpoint in &self.endpoints {
            let read = async {
                let mut client = etcd_client::Client::connect([endpoint], None).await?;
                client.get("/rsnap/servers/", Some(options.clone())).await
            };
            let limited = async { tokio::time::timeout(Duration::from_millis(500), read).await };
            let Ok(Ok(answer)) = runtime.block_on(limited) else { continue };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            found.extend(answer.kvs().iter().map(|pair| (text(pair.key()), text(pair.value()))));
        }
        found
    }
}

#[test]
fn no_crash_leaves_a_ghost_and_no_count_is_wrong_in_the_end() {
    let network = Network::new(3);
    let addresses = (0..3).map(|member| (network.address(member, 2379), network.address(member, 2380))).collect();
    let mut etcd = Etcd::start_at(addresses, Security::Plain, |member| network.program(member));
    let mut site = Site::start_with(GATEWAYS, "", &etcd.table("ttl = \"5s\"\ntimeout = \"1s\""));
    let gateways = std::mem::take(&mut site.gateways);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let scene = Scene {
        addresses: gateways.iter().map(|gateway| gateway.address).collect(),
        clients: gateways.iter().map(|gateway| site.client(gateway.address)).collect(),
        victims: gateways.into_iter().map(|gateway| Mutex::new(Victim { gateway, dead_since: None })).collect(),
        endpoints: etcd.endpoints(),
        all_sent: AtomicBool::new(false),
        over: AtomicBool::new(false),
        sent: AtomicUsize::new(0),
        faults: Mutex::default(),
    };
    let next = AtomicUsize::new(0);
    let order = order(seed);
    thread::scope(|threads| {
        let looking = threads.spawn(|| scene.look());
        let killing = threads.spawn(|| scene.kill_gateways(Dice(seed + 1)));
        let harming = threads.spawn(|| scene.harm_etcd(&mut etcd, &network, Dice(seed + 2)));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (scene, next, order) = (&scene, &next, &order);
                threads.spawn(move || {
                    let mut dice = Dice(seed + 10 + sender as u64);
                    while let Some(number) = order.get(next.fetch_add(1, Ordering::SeqCst)) {
                        scene.send(*number, &mut dice);
                    }
                })
            })
            .collect();
        let ended: Vec<bool> = senders.into_iter().map(|sender| sender.join().is_ok()).collect();
        let sent = ended.into_iter().all(|well| well);
        scene.all_sent.store(true, Ordering::SeqCst);
        let harmed = (killing.join(), harming.join());
        scene.over.store(true, Ordering::SeqCst);
        let (counts, answers) = looking.join().unwrap();
        let (kills, harms) = (harmed.0.unwrap(), harmed.1.unwrap());
        println!("{kills} gateways killed, etcd harmed {harms} times; {counts} counts and {answers} answers looked at");
        assert!(sent && counts > 100 && answers > 100);
    });
    assert_eq!(*scene.faults.lock().unwrap(), Vec::<String>::new());
    assert_eq!(scene.sent.load(Ordering::SeqCst), SNAPSHOTS);
    site.gateways = scene.victims.into_iter().map(|victim| victim.into_inner().unwrap().gateway).collect();
    in_the_end(Group { site, etcd });
}

/// The numbers of all snapshots, shuffled.
fn order(seed: u64) -> Vec<usize> {
    let mut dice = Dice(seed);
    let mut order: Vec<usize> = (0..SNAPSHOTS).collect();
    for last in (1..SNAPSHOTS).rev() {
        order.swap(last, dice.roll(last + 1));
    }
    order
}

/// Every gateway has its key, and the sum is what runs.
fn in_the_end(group: Group) {
    let image = Image::random(64 << 10, 7);
    let left: Vec<_> =
        (0..LEFT).map(|number| group.begin(number % GATEWAYS, &format!("left{number}"), &image)).collect();
    let sum = || group.etcd.servers().values().map(|value| value.parse::<usize>().unwrap()).sum::<usize>();
    let begun = Instant::now();
    wait_for("the sum of the counts", || sum() == LEFT && group.etcd.servers().len() == GATEWAYS);
    println!("the sum was right after {:?}", begun.elapsed());
    for (number, put) in left.into_iter().enumerate() {
        assert_eq!(Group::finish(put, &image), 201, "{number}");
    }
    wait_for("the end of all", || sum() == 0);
    for number in (0..SNAPSHOTS).step_by(50) {
        let expected = Image::random(64 << 10, number as u64);
        let path = format!("/v1/volumes/v{number}/snapshots/s");
        assert!(group.client(0).get(&path).expect(200).body == expected.bytes, "{path}");
    }
}
