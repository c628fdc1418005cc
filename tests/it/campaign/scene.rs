//! What lanes and faults share: the gateways and the ways to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::LANES;
use super::backend::Backend;
use super::fault::GATEWAYS;
use super::sender::Slot;
use crate::cluster::etcd::Etcd;
use crate::deploy::site::{Caller, Site};
use crate::support::{Answer, Client, Gateway, Meter, Proxy, seed};

/// A lease that lapses while a gateway sleeps.
const TTL: &str = "ttl = \"2s\"\ntimeout = \"1s\"";
/// How long something is asked for that some gateway must be able to do.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Scene {
    pub seed: u64,
    pub gateways: Vec<Mutex<Gateway>>,
    /// One before each gateway.
    pub proxies: Vec<Proxy>,
    pub meter: Arc<Meter>,
    pub senders: [Slot; LANES],
    /// What each lane sends now.
    pub current: [Mutex<String>; LANES],
    /// How often the storage was full, and whether it is.
    pub fulls: AtomicU64,
    pub is_full: AtomicBool,
    /// How often a sender said so.
    pub fulls_told: AtomicU64,
    /// Gateways that are dead or asleep.
    away: Arc<[AtomicBool; GATEWAYS]>,
    clients: Vec<Client>,
    caller: Caller,
    wanted: usize,
    struck: AtomicUsize,
    failed: AtomicBool,
    calm: AtomicBool,
    told: Mutex<BTreeMap<String, u64>>,
    _balancer: Proxy,
    _site: Site,
    _etcd: Etcd,
    /// Goes last.
    pub backend: Box<dyn Backend>,
}

impl Scene {
    pub fn new(backend: Box<dyn Backend>, wanted: usize) -> Self {
        let seed = seed();
        let etcd = Etcd::start(1);
        let targets: Arc<[OnceLock<SocketAddr>; GATEWAYS]> = Arc::default();
        let meter: Arc<Meter> = Arc::default();
        let away: Arc<[AtomicBool; GATEWAYS]> = Arc::default();
        let before = |number: usize| {
            let targets = Arc::clone(&targets);
            Proxy::choosing(Arc::clone(&meter), move || targets[number].get().copied())
        };
        let proxies: Vec<Proxy> = (0..GATEWAYS).map(before).collect();
        let addresses: Vec<SocketAddr> = proxies.iter().map(|proxy| proxy.address).collect();
        let mut site = Site::start_behind(&addresses, &backend.store(), &etcd.table(TTL));
        let gateways = std::mem::take(&mut site.gateways);
        for (target, gateway) in targets.iter().zip(&gateways) {
            target.set(gateway.address).unwrap();
        }
        let balancer = balancer(addresses, Arc::clone(&away));
        Self {
            seed,
            clients: gateways.iter().map(|gateway| site.client(gateway.address)).collect(),
            gateways: gateways.into_iter().map(Mutex::new).collect(),
            proxies,
            meter,
            senders: Default::default(),
            current: Default::default(),
            fulls: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            fulls_told: AtomicU64::new(0),
            away,
            caller: site.caller(balancer.address),
            wanted,
            struck: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            told: Mutex::default(),
            _balancer: balancer,
            _site: site,
            _etcd: etcd,
            backend,
        }
    }

    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// Whether faults have come often enough, or there is nothing to be seen any more.
    pub fn is_over(&self) -> bool {
        self.struck.load(Ordering::SeqCst) >= self.wanted || self.has_failed()
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn give_up(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// No fault strikes any more, and those that struck are over.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    pub fn strikes(&self, name: &str) {
        self.struck.fetch_add(1, Ordering::SeqCst);
        self.tell(name, 1);
    }

    /// Adds to what is told at the end.
    pub fn tell(&self, what: &str, count: u64) {
        *self.history_of().entry(what.to_owned()).or_default() += count;
    }

    /// Keeps the most of what is told at the end.
    pub fn tell_most(&self, what: &str, count: u64) {
        let mut told = self.history_of();
        let most = told.entry(what.to_owned()).or_default();
        *most = count.max(*most);
    }

    fn history_of(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn history(&self) -> String {
        let lines = self.history_of().iter().map(|(what, count)| format!("{count:>8} {what}\n")).collect::<String>();
        format!("{} faults:\n{lines}", self.struck.load(Ordering::SeqCst))
    }

    /// Takes a gateway away for a while: the wanted one, or another one where that is away already. One always stays.
    pub fn take_away(&self, wanted: usize) -> Option<(usize, MutexGuard<'_, Gateway>)> {
        let mut numbers = (wanted..wanted + GATEWAYS).map(|number| number % GATEWAYS);
        let mut taken =
            numbers.find_map(|number| self.gateways[number].try_lock().ok().map(|there| (number, there)))?;
        let others = (0..GATEWAYS).filter(|number| *number != taken.0);
        if !others.into_iter().any(|other| !self.away[other].load(Ordering::SeqCst)) {
            return None;
        }
        self.away[taken.0].store(true, Ordering::SeqCst);
        assert!(taken.1.is_running(), "a gateway ended by itself:\n{}", taken.1.log());
        Some(taken)
    }

    pub fn give_back(&self, number: usize) {
        self.away[number].store(false, Ordering::SeqCst);
    }

    /// Asks gateways, past their proxies, until one gives an answer that will do.
    #[track_caller]
    pub fn ask(&self, what: &str, ask: impl Fn(&Client) -> std::io::Result<Answer>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline && !self.has_failed() {
            for number in (0..GATEWAYS).filter(|number| !self.away[*number].load(Ordering::SeqCst)) {
                match ask(&self.clients[number]) {
                    Ok(answer) if answer.status < 500 && !answer.cut => return answer,
                    other => last = format!("{other:?}"),
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("seed {}: no gateway can {what}: {last}", self.seed);
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(path, |client| client.try_get(path))
    }

    /// Whether a snapshot is committed, as far as can be seen now.
    pub fn is_committed(&self, volume: &str, snapshot: &str) -> bool {
        let path = format!("/v1/volumes/{volume}/snapshots");
        let there = |chain: &serde_json::Value| {
            chain["snapshots"].as_array().is_some_and(|all| all.iter().any(|one| one["snapshot"] == snapshot))
        };
        let answer = self.get(&path);
        answer.status == 200 && there(&answer.json())
    }
}

/// The address at which senders ask: any gateway that is not known to be away.
fn balancer(addresses: Vec<SocketAddr>, away: Arc<[AtomicBool; GATEWAYS]>) -> Proxy {
    let turn = AtomicUsize::new(0);
    Proxy::choosing(Arc::default(), move || {
        let first = turn.fetch_add(1, Ordering::SeqCst);
        let mut numbers = (first..first + GATEWAYS).map(|number| number % GATEWAYS);
        numbers.find(|number| !away[*number].load(Ordering::SeqCst)).map(|number| addresses[number])
    })
}
