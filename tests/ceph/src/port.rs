//! A port that must be known before the server that listens on it starts.
//!
//! Binding to port 0 and closing again was refused: such a port is in the range that the kernel takes the ports of
//! outgoing connections from, and one of a hundred parallel tests soon has it. So ports come from below that range, and
//! each process has a block of them for itself: its lock file is held until the process ends, however it ends. A lock
//! for each port was refused, because tests that start hundreds of servers run out of open files.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Below what Linux uses for outgoing connections (`net.ipv4.ip_local_port_range`, from 32768), above Ceph's defaults.
const RANGE: std::ops::Range<u16> = 10_000..32_000;
/// Ports for one process.
const BLOCK: u16 = 1000;

/// The ports of this process.
struct Block {
    first: u16,
    /// How many were given out.
    given: u16,
    _lock: File,
}

static OURS: Mutex<Option<Block>> = Mutex::new(None);

/// A port of the loopback address that nobody listens on, and that this process has not given out for the longest time.
pub fn free_port() -> Result<u16> {
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    if ours.is_none() {
        *ours = RANGE.step_by(usize::from(BLOCK)).find_map(lock);
    }
    let Some(block) = ours.as_mut() else { bail!("other processes have all blocks of {RANGE:?}") };
    for _ in 0..BLOCK {
        let port = block.first + block.given % BLOCK;
        block.given = (block.given + 1) % BLOCK;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} on is free", block.first);
}

/// The block that starts there, unless another process has it or the file is another user's.
fn lock(first: u16) -> Option<Block> {
    let path = std::env::temp_dir().join(format!("rsnap-ports-{first}.lock"));
    let file = OpenOptions::new().create(true).append(true).open(path).ok()?;
    file.try_lock().ok()?;
    Some(Block { first, given: 0, _lock: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_below_those_of_outgoing_connections() {
        let (first, second) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(first, second);
        assert!(RANGE.contains(&first) && RANGE.contains(&second));
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let first = free_port().unwrap();
        let listeners: Vec<_> = (first + 1..first + 5).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        for _ in 0..3 {
            let port = free_port().unwrap();
            let held = listeners.iter().flatten().any(|listener| listener.local_addr().unwrap().port() == port);
            assert!(!held, "{port}");
        }
    }

    #[test]
    fn a_block_belongs_to_one() {
        free_port().unwrap();
        let first = OURS.lock().unwrap().as_ref().unwrap().first;
        assert!(lock(first).is_none());
    }
}
