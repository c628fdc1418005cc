//! Connections that have not asked for anything yet.
//!
//! They are the cheapest way to exhaust a server: open and say nothing. So they alone can lose their place, the
//! oldest first. A connection leaves this list for good with its first request; from then on timeouts bound it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The silent connections in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Opening {
    silent: Mutex<Silent>,
}

#[derive(Debug, Default)]
struct Silent {
    next: u64,
    by_arrival: BTreeMap<u64, CancellationToken>,
}

impl Opening {
    pub(super) fn enter(self: &Arc<Self>) -> Entry {
        let evicted = CancellationToken::new();
        let mut silent = self.silent();
        let number = silent.next;
        silent.next += 1;
        silent.by_arrival.insert(number, evicted.clone());
        Entry { number, evicted, opening: Arc::clone(self) }
    }

    /// Tells the oldest silent connection to go; `false` when there is none.
    pub(super) fn evict_oldest(&self) -> bool {
        let oldest = self.silent().by_arrival.pop_first();
        oldest.map(|(_, evicted)| evicted.cancel()).is_some()
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place in the list; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    evicted: CancellationToken,
    opening: Arc<Opening>,
}

impl Entry {
    /// Done when this connection has to go.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The first request is here. Safe to repeat.
    pub(super) fn arrived(&self) {
        self.opening.silent().by_arrival.remove(&self.number);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.arrived();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_one_goes_first() {
        let opening = Arc::new(Opening::default());
        let (first, second, third) = (opening.enter(), opening.enter(), opening.enter());
        first.arrived();
        assert!(opening.evict_oldest());
        assert!(second.evicted.is_cancelled() && !third.evicted.is_cancelled());
        drop(third);
        assert!(!opening.evict_oldest());
        assert!(!first.evicted.is_cancelled());
    }
}
