//! How many bytes a second an operation may move, over all of its connections, and changed while it runs.
//!
//! Counted where bytes enter and leave a connection, so that nothing has to know about it: what is made waits for the
//! socket, as it does for a slow line. Small pieces often and not large ones seldom, so that the other side never takes a
//! limit for silence. Shaping in the kernel was refused: it needs rights that a user has not.
//!
//! A running operation is told a new limit by the file that it was named; a signal has no room for a number.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::ClientError;
use crate::quantity::Bytes;

/// Lowest limit, in bytes a second: below it, other ends would take us for dead.
pub const LOWEST: Bytes = Bytes::kib(64);
/// What may be moved at once after a rest, as a share of a second.
const BURST: Duration = Duration::from_millis(100);
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What a file says that lifts the limit.
const NONE: &str = "none";

/// A limit that all connections of an operation share. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Rate(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// Bytes a second; 0: no limit.
    limit: AtomicU64,
    /// When all that was moved may have been moved.
    due: Mutex<Instant>,
}

impl Rate {
    /// At most `limit` a second.
    pub fn fixed(limit: Bytes) -> Result<Self, ClientError> {
        Ok(Self(Some(Arc::new(Shared::new(check(limit)?)))))
    }

    /// What the file says: a size a second such as `100MiB`, or `none`. It is read again every second; while it cannot
    /// be read or understood, what it said last goes on.
    pub fn file(path: &Path) -> Result<Self, ClientError> {
        let text = std::fs::read_to_string(path).map_err(ClientError::local("read", path.display().to_string()))?;
        let limit = parse(&text).map_err(|fault| ClientError::Usage(format!("{}: {fault}", path.display())))?;
        let shared = Arc::new(Shared::new(limit));
        tokio::spawn(follow(Arc::downgrade(&shared), path.to_owned()));
        Ok(Self(Some(shared)))
    }

    /// For one more connection.
    pub(super) fn gate(&self) -> Gate {
        Gate { shared: self.0.clone(), sleep: None }
    }
}

impl Shared {
    fn new(limit: u64) -> Self {
        Self { limit: AtomicU64::new(limit), due: Mutex::new(Instant::now()) }
    }
}

fn check(limit: Bytes) -> Result<u64, ClientError> {
    match limit >= LOWEST {
        true => Ok(limit.0),
        false => Err(ClientError::Usage(format!("a limit is at least {LOWEST} a second"))),
    }
}

/// Bytes a second; 0 for none.
fn parse(text: &str) -> Result<u64, String> {
    match text.trim() {
        NONE => Ok(0),
        size => {
            let limit: Bytes = size.parse().map_err(|_| format!("write a size a second such as 100MiB, or {NONE}"))?;
            check(limit).map_err(|fault| fault.to_string())
        }
    }
}

/// Takes over what the file says, as long as anybody is limited by it.
async fn follow(shared: Weak<Shared>, path: PathBuf) {
    loop {
        tokio::time::sleep(LOOK).await;
        let file = path.clone();
        let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Ok(Ok(Ok(limit))) = text.map(|read| read.map(|text| parse(&text))) {
            shared.limit.store(limit, Ordering::Relaxed);
        }
    }
}

/// The limit, for one connection.
#[derive(Debug)]
pub(super) struct Gate {
    shared: Option<Arc<Shared>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    /// Waits until bytes may move; tells how many at once.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let Some(shared) = &self.shared else { return Poll::Ready(usize::MAX) };
        loop {
            let limit = shared.limit.load(Ordering::Relaxed);
            if limit == 0 {
                return Poll::Ready(usize::MAX);
            }
            let due = *shared.due.lock().unwrap_or_else(PoisonError::into_inner);
            if due <= Instant::now() {
                return Poll::Ready(usize::try_from(limit / 20).unwrap_or(usize::MAX).max(4096));
            }
            // Not longer, because the limit may be lifted meanwhile.
            let wake = due.min(Instant::now() + LOOK);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(wake)));
            sleep.as_mut().reset(wake);
            std::task::ready!(sleep.as_mut().poll(context));
        }
    }

    /// Counts what has moved.
    pub(super) fn moved(&self, bytes: usize) {
        let Some(shared) = &self.shared else { return };
        let limit = shared.limit.load(Ordering::Relaxed);
        if limit > 0 {
            let cost = Duration::from_secs_f64(bytes as f64 / limit as f64);
            let mut due = shared.due.lock().unwrap_or_else(PoisonError::into_inner);
            let rested = Instant::now().checked_sub(BURST).unwrap_or(*due);
            *due = rested.max(*due) + cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Seconds that `bytes` take over `connections` at once.
    async fn seconds(rate: &Rate, bytes: usize, connections: usize) -> f64 {
        let start = Instant::now();
        let moving = (0..connections).map(|_| {
            let mut gate = rate.gate();
            async move {
                let mut left = bytes / connections;
                while left > 0 {
                    let now = poll_fn(|context| gate.poll(context)).await.min(left);
                    gate.moved(now);
                    left -= now;
                }
            }
        });
        futures_util::future::join_all(moving).await;
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn all_connections_together_keep_the_limit() {
        let rate = Rate::fixed(Bytes::mib(1)).unwrap();
        for connections in [1, 4] {
            let taken = seconds(&rate, 20 << 20, connections).await;
            assert!((19.0..20.5).contains(&taken), "{connections} connections took {taken} s");
        }
        assert!(seconds(&Rate::default(), 1 << 30, 2).await < 0.1);
    }

    #[tokio::test]
    async fn the_file_counts_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limit");
        assert!(matches!(Rate::file(&file), Err(ClientError::Local { .. })));
        for wrong in ["", "fast", "1KiB"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(matches!(Rate::file(&file), Err(ClientError::Usage(_))), "{wrong:?}");
        }
        std::fs::write(&file, "64KiB\n").unwrap();
        let rate = Rate::file(&file).unwrap();
        let limit = || rate.0.as_ref().unwrap().limit.load(Ordering::Relaxed);
        assert_eq!(limit(), 64 << 10);
        for (text, expected) in [("2MiB", 2 << 20), ("nonsense", 2 << 20), ("none\n", 0)] {
            std::fs::write(&file, text).unwrap();
            if expected != limit() {
                let waiting = async {
                    while limit() != expected {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
            }
        }
    }
}
