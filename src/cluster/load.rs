//! How many transfers run here, and whether etcd knows.
//!
//! A transfer is counted from its start to its end, once, whatever requests it is made of: whoever runs it holds a
//! [`Counted`]. The number is ours and needs no etcd. The end of a transfer waits until etcd has been told, because
//! who has its answer may ask for a gateway at once; the wait is bounded, and there is none while etcd is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The transfers of this gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Transfers {
    pub(super) running: u64,
    /// How often one has begun or ended.
    pub(super) changes: u64,
}

/// What etcd holds of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// The beginnings and ends that are written; `None` while this gateway is not counted in etcd.
    pub(super) changes: Option<u64>,
    /// Whether etcd is known to hold no key of ours.
    pub(super) released: bool,
}

/// The number of running transfers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Load {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transfers: watch::Sender<Transfers>,
    confirmed: watch::Sender<Confirmed>,
    patience: Duration,
}

/// One running transfer; counted until it is dropped.
#[derive(Debug)]
pub struct Counted {
    load: Load,
}

impl Load {
    /// Nothing runs. `patience` is how long the end of a transfer waits for etcd.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        let released = Confirmed { changes: None, released: true };
        let (transfers, confirmed) = (watch::Sender::new(Transfers::default()), watch::Sender::new(released));
        Self { shared: Arc::new(Shared { transfers, confirmed, patience }) }
    }

    /// Counts a transfer that begins.
    #[must_use]
    pub fn enter(&self) -> Counted {
        self.shared.transfers.send_modify(|transfers| {
            transfers.running += 1;
            transfers.changes += 1;
        });
        Counted { load: self.clone() }
    }

    /// The transfers that run now.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.shared.transfers.borrow().running
    }

    pub(super) fn watch(&self) -> watch::Receiver<Transfers> {
        self.shared.transfers.subscribe()
    }

    pub(super) fn confirm(&self, confirmed: Confirmed) {
        self.shared.confirmed.send_if_modified(|known| std::mem::replace(known, confirmed) != confirmed);
    }

    pub(super) fn confirmed(&self) -> watch::Receiver<Confirmed> {
        self.shared.confirmed.subscribe()
    }
}

impl Counted {
    /// Ends the count. Done when etcd has been told, is away, or takes too long.
    pub async fn leave(self) {
        let shared = Arc::clone(&self.load.shared);
        drop(self);
        let changes = shared.transfers.borrow().changes;
        let mut confirmed = shared.confirmed.subscribe();
        let told = confirmed.wait_for(|known| known.changes.is_none_or(|written| written >= changes));
        if tokio::time::timeout(shared.patience, told).await.is_err() {
            tracing::debug!("end a transfer without waiting any longer for etcd");
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.load.shared.transfers.send_modify(|transfers| {
            transfers.running = transfers.running.saturating_sub(1);
            transfers.changes += 1;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_etcd_and_not_for_ever() {
        let load = Load::new(PATIENCE);
        load.confirm(Confirmed { changes: Some(0), released: false });
        let counted = load.enter();
        assert_eq!(load.running(), 1);
        let begun = tokio::time::Instant::now();
        counted.leave().await;
        assert_eq!((load.running(), begun.elapsed()), (0, PATIENCE));

        let counted = load.enter();
        let leaving = tokio::spawn(counted.leave());
        tokio::task::yield_now().await;
        load.confirm(Confirmed { changes: Some(3), released: false });
        tokio::task::yield_now().await;
        assert!(!leaving.is_finished(), "the end itself is not written yet");
        load.confirm(Confirmed { changes: Some(4), released: false });
        leaving.await.unwrap();
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_an_etcd_that_is_away() {
        let load = Load::new(PATIENCE);
        let begun = tokio::time::Instant::now();
        load.enter().leave().await;
        load.confirm(Confirmed { changes: Some(0), released: false });
        let leaving = tokio::spawn(load.enter().leave());
        tokio::task::yield_now().await;
        load.confirm(Confirmed { changes: None, released: false });
        leaving.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_transfer_that_is_dropped_is_not_counted_any_more() {
        let load = Load::new(PATIENCE);
        let (one, two) = (load.enter(), load.enter());
        drop(one);
        assert_eq!(load.running(), 1);
        drop(two);
        assert_eq!(load.running(), 0);
    }
}
