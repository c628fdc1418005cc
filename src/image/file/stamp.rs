//! How a file is recognised as untouched without reading it.
//!
//! Proving a base by reading it all would make every incremental as dear as a full copy. The kernel sets a file's
//! change time at every write, and nothing but the kernel can set it, so a file whose stamp is the one in its record
//! has the bytes that were committed. The device number is left out: it may differ after each boot.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Two changes this close together may get the same change time: the kernel's clock for it ticks at least this fast.
const TICK: Duration = Duration::from_millis(12);

/// What a file system tells of a file without reading it. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stamp {
    pub inode: u64,
    /// Length in bytes.
    pub length: u64,
    pub modified: i64,
    pub changed: i64,
}

impl Stamp {
    /// Waits (at most one tick) until any later change must get another change time.
    pub(super) fn settle(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = i64::try_from(now.as_nanos()).unwrap_or_default() - self.changed;
        let tick = i64::try_from(TICK.as_nanos()).unwrap_or_default();
        if (0..tick).contains(&age) {
            std::thread::sleep(TICK);
        }
    }
}
