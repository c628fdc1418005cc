//! What the service manager is told (systemd's `sd_notify` protocol); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinSet;

/// Between two requests for more time to stop.
const EXTENSION: Duration = Duration::from_secs(10);

/// Says that the gateway serves, and keeps the watchdog quiet as long as the runtime lives and `is_serving`, until
/// the answer is dropped.
pub(super) fn ready(is_serving: impl Fn() -> bool + Send + 'static) -> JoinSet<()> {
    serving();
    let mut tasks = JoinSet::new();
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tasks.spawn(pulse(limit / 3, is_serving, || notify(&[NotifyState::Watchdog])));
    }
    tasks
}

/// Says that the gateway serves: at the start, and again after a reload.
pub(super) fn serving() {
    notify(&[NotifyState::Ready]);
}

/// The time is what systemd tells this reload from an earlier one by.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(fault) => tracing::debug!(%fault, "read the clock for the service manager"),
    }
}

/// Says that the gateway stops, and asks for more time until the answer is dropped: how long transfers may go on is
/// for `listen.drain_timeout` to say, and not for the service manager too.
pub(super) fn stopping() -> JoinSet<()> {
    notify(&[NotifyState::Stopping]);
    let wanted = NotifyState::ExtendTimeoutUsec(u32::try_from((3 * EXTENSION).as_micros()).unwrap_or(u32::MAX));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            notify(std::slice::from_ref(&wanted));
            tokio::time::sleep(EXTENSION).await;
        }
    });
    tasks
}

/// Each beat goes through the runtime's queue as a transfer's work does: a runtime whose threads all hang beats no
/// more. A beat through the listener was refused: a gateway that is merely full would be killed with its transfers.
async fn pulse(interval: Duration, is_serving: impl Fn() -> bool, beat: impl Fn()) {
    loop {
        let passed = tokio::spawn(std::future::ready(())).await.is_ok();
        if passed && is_serving() {
            beat();
        }
        tokio::time::sleep(interval).await;
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(state) {
        tracing::debug!(%fault, "notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_does_not_serve_any_more_has_no_pulse() {
        let (beats, serves) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (count, asked) = (Arc::clone(&beats), Arc::clone(&serves));
        let beat = move || _ = count.fetch_add(1, Ordering::SeqCst);
        let task = tokio::spawn(pulse(INTERVAL, move || asked.load(Ordering::SeqCst), beat));
        tokio::time::sleep(INTERVAL * 5 / 2).await;
        assert_eq!(beats.load(Ordering::SeqCst), 3);
        serves.store(false, Ordering::SeqCst);
        tokio::time::sleep(INTERVAL * 5).await;
        assert_eq!(beats.load(Ordering::SeqCst), 3);
        task.abort();
    }

    #[test]
    fn a_runtime_whose_threads_all_hang_has_no_pulse() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let beats = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&beats);
        let beat = move || _ = count.fetch_add(1, Ordering::SeqCst);
        runtime.spawn(pulse(Duration::from_millis(1), || true, beat));
        let (hung, hangs) = std::sync::mpsc::channel::<()>();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        for _ in 0..2 {
            let (hung, released) = (hung.clone(), Arc::clone(&released));
            runtime.spawn(async move {
                hung.send(()).unwrap();
                _ = released.lock().unwrap().recv();
            });
            hangs.recv().unwrap();
        }
        let before = beats.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(beats.load(Ordering::SeqCst), before);
        drop(release);
        runtime.shutdown_background();
    }
}
