//! Giving up abandoned uploads, now and then.
//!
//! Every gateway does it, whether or not anybody asks for the volumes: the space of a sender that never comes back must
//! come back. An upload lives by the time of its last use, which its storage knows, so nothing is kept here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use crate::transfer::Transfers;

/// Uploads may live longer than they should by this part of their age.
const PART: u32 = 24;
const LONGEST: Duration = Duration::from_secs(3600);

/// Looks at the start, and then again and again until the result is dropped.
pub(super) fn watch(transfers: &Arc<Transfers>) -> JoinSet<()> {
    let transfers = Arc::clone(transfers);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let expired = transfers.expire_uploads(SystemTime::now()).await;
            if expired > 0 {
                tracing::info!(expired, "gave up abandoned uploads");
            }
            tokio::time::sleep((transfers.upload_age() / PART).min(LONGEST)).await;
        }
    });
    tasks
}
