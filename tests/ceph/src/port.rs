//! The monitor's port, which must be known before it starts.
//!
//! Binding to port 0 and closing again lets two parallel starts end up with the same port. So a port is leased: its
//! lock file is held for as long as the cluster lives, and the kernel lets go of it when the owner dies.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// Below the range that the kernel picks ports of outgoing connections from, and away from Ceph's own defaults.
const RANGE: std::ops::Range<u16> = 21_300..21_900;

#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) port: u16,
    _lock: File,
}

/// A port that nobody listens on and no other cluster of this crate has leased.
pub(crate) fn lease() -> Result<Lease> {
    for port in RANGE {
        if let Some(lock) = lock(port)
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            return Ok(Lease { port, _lock: lock });
        }
    }
    bail!("no port of {RANGE:?} is free for a monitor");
}

/// The lock of a port, unless somebody has it or the file is another user's.
fn lock(port: u16) -> Option<File> {
    let path: PathBuf = std::env::temp_dir().join(format!("rsnap-test-ceph-{port}.lock"));
    let file = OpenOptions::new().create(true).append(true).open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_are_two_ports_and_a_dropped_one_is_free() {
        let first = lease().unwrap();
        let second = lease().unwrap();
        assert_ne!(first.port, second.port);
        let port = first.port;
        drop(first);
        // A child that another thread forks in this moment has the lock too, until it becomes another program.
        let released = (0..6000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            lock(port).is_some()
        });
        assert!(released);
    }
}
