//! How fast a guest may go on in one call.
//!
//! A guest is interrupted at every tick of the engine's clock and lets others run. Each call has some time on a core
//! for nothing, more than calls of compiled languages need; what is beyond that is paid from the plugin's [`Purse`],
//! and where that is empty the guest pauses. Counting ticks instead of time on a core was refused: on a busy machine a
//! guest sees many ticks in which it did not run.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use super::shared::Shared;
use super::watch::Watch;

/// How often a running guest is interrupted.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Time on a core that each call has for nothing: most take microseconds. A loop costs that and the tick in which it ends,
/// however many there are and whatever the plugin owes.
const FREE: Duration = Duration::from_millis(5);
/// The same for each MiB that a call is about: what the slowest languages need to look at it.
const FREE_PER_MIB: Duration = Duration::from_millis(25);

/// The pace of one instance.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time on a core that is left for nothing.
    free: Duration,
    /// What was paid in this call.
    paid: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { free: FREE, paid: Duration::ZERO }
    }

    /// A call about so many bytes begins.
    pub(super) fn start(&mut self, bytes: usize) {
        let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        self.free = FREE + FREE_PER_MIB.saturating_mul(mebibytes);
        self.paid = Duration::ZERO;
    }

    /// The call has ended well.
    pub(super) fn end(&mut self, shared: &Shared) {
        shared.purse.give_back(std::mem::take(&mut self.paid));
    }

    /// A tick has come while the guest ran: it yields, and perhaps pauses.
    pub(super) fn tick(&mut self, shared: &Shared, watch: &Arc<Watch>) -> UpdateDeadline {
        let slice = watch.meter.lap();
        let free = slice.min(self.free);
        self.free -= free;
        let pause = match slice - free {
            Duration::ZERO => Duration::ZERO,
            beyond => {
                self.paid += beyond;
                shared.purse.pay(beyond, Instant::now())
            }
        };
        UpdateDeadline::YieldCustom(1, rest(pause, Arc::clone(watch)))
    }
}

fn rest(pause: Duration, watch: Arc<Watch>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if pause.is_zero() {
            return tokio::task::yield_now().await;
        }
        let _pausing = watch.pause();
        tokio::time::sleep(pause).await;
    })
}
