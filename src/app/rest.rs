//! A gateway that has nothing to do is as small as it was at its start.
//!
//! Buffers are kept for the next transfer, and the allocator keeps what was freed. That is right while there is work, and
//! wrong for the rest of the day: other services share the machine, and who watches memory must see a leak and not the
//! largest burst of last week. So when a gateway has come to rest, both are given back, once. Doing it after each transfer
//! was refused: the next one would pay for it, and others would wait meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::plugin::{Activity, Plugins};
use crate::transfer::Transfers;

/// Between two looks; at rest is who did nothing between two of them.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks again and again until the result is dropped.
pub(super) fn watch(transfers: &Arc<Transfers>, plugins: &Arc<Plugins>) -> JoinSet<()> {
    let (transfers, plugins) = (Arc::clone(transfers), Arc::clone(plugins));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut rest = Rest::default();
        loop {
            if rest.look(plugins.activity(), transfers.is_idle()) {
                let transfers = Arc::clone(&transfers);
                let give_back = move || {
                    transfers.give_back();
                    rsnap_sys::give_back();
                };
                if tokio::task::spawn_blocking(give_back).await.is_ok() {
                    tracing::debug!("at rest: gave memory back");
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    tasks
}

/// What was seen at the last look. Nothing is done without a call of a plugin, so what they did tells of all work.
#[derive(Debug, Default)]
struct Rest {
    before: Option<Activity>,
    is_at_rest: bool,
}

impl Rest {
    /// Whether a rest has begun.
    fn look(&mut self, now: Activity, is_idle: bool) -> bool {
        let was_at_rest = self.is_at_rest;
        self.is_at_rest = is_idle && now.instances == 0 && self.before == Some(now);
        self.before = Some(now);
        self.is_at_rest && !was_at_rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_begins_once() {
        let mut rest = Rest::default();
        let looks =
            [(0, true), (0, true), (0, true), (1, true), (1, false), (1, true), (1, true), (2, true), (2, true)];
        let begun = looks.map(|(calls, is_idle)| rest.look(Activity { calls, ..Activity::default() }, is_idle));
        assert_eq!(begun, [false, true, false, false, false, true, false, false, true]);
        let held = Activity { calls: 3, instances: 1, ..Activity::default() };
        assert!(![held, held, held].into_iter().any(|now| rest.look(now, true)), "somebody is at work");
    }
}
