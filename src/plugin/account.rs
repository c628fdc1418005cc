//! What one plugin did and used since it was loaded: for the operator's page, the metrics, and whoever judges it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::PluginError;

/// A limit that a plugin can run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Memory of one instance, in total.
    Memory,
    /// Elements of its tables.
    Tables,
    /// Its stack.
    Stack,
    /// Time of its own code in one call.
    Time,
    /// Time of the host's work for it in one call.
    HostTime,
    /// Bytes that it hands over in one call.
    HandedOver,
    /// Calls to the storage in one call.
    StorageCalls,
    /// Requests over HTTP and reads of keys in one call.
    Requests,
    /// Bytes of chunks that it keeps.
    Chunks,
    /// Instances at once.
    Instances,
}

impl Limit {
    pub(super) const ALL: [Self; 10] = [
        Self::Memory,
        Self::Tables,
        Self::Stack,
        Self::Time,
        Self::HostTime,
        Self::HandedOver,
        Self::StorageCalls,
        Self::Requests,
        Self::Chunks,
        Self::Instances,
    ];

    /// Its name in metrics and answers; stable.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Tables => "tables",
            Self::Stack => "stack",
            Self::Time => "time",
            Self::HostTime => "host-time",
            Self::HandedOver => "handed-over",
            Self::StorageCalls => "storage-calls",
            Self::Requests => "requests",
            Self::Chunks => "chunks",
            Self::Instances => "instances",
        }
    }
}

/// A sum of times.
#[derive(Debug, Default)]
pub(super) struct Sum(AtomicU64);

impl Sum {
    pub(super) fn add(&self, time: Duration) {
        self.0.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn raise(&self, time: Duration) {
        self.0.fetch_max(nanoseconds(time), Ordering::Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The account of one plugin.
#[derive(Debug, Default)]
pub(super) struct Account {
    calls: AtomicU64,
    failures: AtomicU64,
    traps: AtomicU64,
    /// From the beginning of each call to its end.
    whole: Sum,
    longest: Sum,
    /// On a core, for its own code and for what the host answers at once.
    pub(super) guest: Sum,
    /// In calls to the host that wait.
    pub(super) host: Sum,
    /// In which it was made to pause.
    pub(super) paused: Sum,
    /// Bytes of what it answered, and of what it told the host in its calls.
    handed_over: AtomicU64,
    /// Bytes of all running instances.
    memory: AtomicU64,
    /// Bytes of the largest instance that there was.
    memory_peak: AtomicU64,
    limits: [AtomicU64; Limit::ALL.len()],
    instances: AtomicU64,
    last_failure: Mutex<Option<Failure>>,
}

/// A call that ended with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// RFC 3339.
    pub time: String,
    pub detail: String,
}

impl Account {
    /// Counts one call by its time and its result.
    pub(super) async fn call<T>(&self, work: impl Future<Output = Result<T, PluginError>>) -> Result<T, PluginError> {
        let start = Instant::now();
        let result = work.await;
        let time = start.elapsed();
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.whole.add(time);
        self.longest.raise(time);
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    fn failed(&self, error: &PluginError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if matches!(error, PluginError::Failed { .. }) {
            self.traps.fetch_add(1, Ordering::Relaxed);
        }
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let failure = Failure { time, detail: error.to_string() };
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Counts a limit that was hit.
    pub(super) fn hit(&self, limit: Limit) {
        if let Some(counter) = Limit::ALL.iter().position(|known| *known == limit).and_then(|at| self.limits.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It handed over texts of so many bytes.
    pub(super) fn handed(&self, bytes: usize) {
        self.handed_over.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// An instance is there, until the guard is dropped.
    pub(super) fn instance(self: &Arc<Self>) -> Alive {
        self.instances.fetch_add(1, Ordering::Relaxed);
        Alive(Arc::clone(self))
    }

    /// An instance grew by so many bytes and has `total` now.
    pub(super) fn grew(&self, bytes: usize, total: usize) {
        self.memory.fetch_add(bytes as u64, Ordering::Relaxed);
        self.memory_peak.fetch_max(total as u64, Ordering::Relaxed);
    }

    /// An instance of so many bytes is gone.
    pub(super) fn freed(&self, bytes: usize) {
        self.memory.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn usage(&self) -> Usage {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let hits = Limit::ALL.iter().zip(&self.limits).map(|(limit, hits)| (limit.name().to_owned(), count(hits)));
        Usage {
            calls: count(&self.calls),
            failures: count(&self.failures),
            traps: count(&self.traps),
            call_seconds: self.whole.get().as_secs_f64(),
            longest_call_seconds: self.longest.get().as_secs_f64(),
            guest_seconds: self.guest.get().as_secs_f64(),
            host_seconds: self.host.get().as_secs_f64(),
            paused_seconds: self.paused.get().as_secs_f64(),
            handed_over_bytes: count(&self.handed_over),
            instances: count(&self.instances),
            memory_bytes: count(&self.memory),
            memory_peak_bytes: count(&self.memory_peak),
            limit_hits: hits.collect(),
            last_failure: self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// How far plugins have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    pub calls: u64,
    /// Time on a core; also of an instance that only checked its settings, which is no call.
    pub on_core: Duration,
    /// Instances that are alive.
    pub instances: u64,
}

impl Activity {
    pub(super) fn and(self, account: &Account) -> Self {
        Self {
            calls: self.calls + account.calls.load(Ordering::Relaxed),
            on_core: self.on_core + account.guest.get(),
            instances: self.instances + account.instances.load(Ordering::Relaxed),
        }
    }
}

/// An instance that is alive.
#[derive(Debug)]
pub(super) struct Alive(Arc<Account>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a plugin did and used since it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub calls: u64,
    /// Calls that ended with an error of any kind.
    pub failures: u64,
    /// Those of the failures that are the plugin's fault: traps, limits, timeouts, breaches of the contract.
    pub traps: u64,
    /// From the beginning of each call to its end, summed up.
    pub call_seconds: f64,
    pub longest_call_seconds: f64,
    /// Time on a core, of its own code and of what the host answers at once.
    pub guest_seconds: f64,
    /// Time that its calls waited for the host's work.
    pub host_seconds: f64,
    /// Time that it was made to pause, because it uses more than its share of the processors.
    pub paused_seconds: f64,
    /// Bytes of what it answered, and of what it told the host in its calls.
    pub handed_over_bytes: u64,
    /// Instances that are alive now, of the version that is loaded and of those before it.
    pub instances: u64,
    /// Of all instances that are alive now.
    pub memory_bytes: u64,
    /// Of the largest instance that there was.
    pub memory_peak_bytes: u64,
    /// How often it ran into which limit.
    pub limit_hits: std::collections::BTreeMap<String, u64>,
    pub last_failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_counted_by_how_they_end() {
        let account = Account::default();
        let failed = |detail: &str| PluginError::Failed { plugin: "p".to_owned(), detail: detail.to_owned() };
        let refused = PluginError::Refused { plugin: "p".to_owned(), detail: "no".to_owned() };
        account.call(async { Ok(()) }).await.unwrap();
        account.call::<()>(async { Err(failed("trap")) }).await.unwrap_err();
        account.call::<()>(async { Err(refused) }).await.unwrap_err();
        account.hit(Limit::Instances);
        let usage = account.usage();
        assert_eq!((usage.calls, usage.failures, usage.traps), (3, 2, 1));
        assert_eq!((usage.limit_hits["instances"], usage.limit_hits["memory"]), (1, 0));
        assert_eq!(usage.last_failure.unwrap().detail, "plugin p refused: no");
        assert!(usage.call_seconds >= usage.longest_call_seconds);
    }

    #[test]
    fn memory_is_of_now_and_of_the_largest() {
        let account = Account::default();
        account.grew(100, 100);
        account.grew(50, 150);
        account.grew(10, 10);
        account.freed(150);
        let usage = account.usage();
        assert_eq!((usage.memory_bytes, usage.memory_peak_bytes), (10, 150));
    }
}
