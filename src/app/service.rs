//! What the service manager is told (systemd's `sd_notify` protocol); nothing where there is none.

use sd_notify::NotifyState;
use tokio::task::JoinSet;

/// Says that the gateway serves, and keeps the watchdog quiet until the answer is dropped.
pub(super) fn ready() -> JoinSet<()> {
    notify(&[NotifyState::Ready]);
    let mut tasks = JoinSet::new();
    if let Some(interval) = sd_notify::watchdog_enabled() {
        tasks.spawn(async move {
            loop {
                notify(&[NotifyState::Watchdog]);
                tokio::time::sleep(interval / 3).await;
            }
        });
    }
    tasks
}

pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(state) {
        tracing::debug!(%fault, "notify the service manager");
    }
}
