//! Real Ceph clusters for tests: one monitor and one OSD as plain processes on the loopback address.
//!
//! What rsnap promises on Ceph depends on what Ceph really does, and a model of Ceph would only repeat what its author
//! believes. So tests run against Debian's own daemons. A start costs a few seconds, hence [`Cluster::shared`] for one
//! test process and names of their own ([`Cluster::namespace`], [`Cluster::unique`]) for its tests; what needs a
//! cluster for itself (it stops the OSD, fills it, or has other settings) starts one.
//!
//! A cluster ends with its owner, also when that is killed: a watchdog process holds the other end of a pipe. The
//! kernel's parent-death signal was refused, because it follows the thread that started the daemon, and each test has
//! a thread of its own. Containers were refused: they need rights and images that a newcomer does not have.

mod cluster;
mod configuration;
mod daemon;
mod objects;
mod options;
mod port;
mod program;
mod watchdog;

pub use cluster::Cluster;
pub use daemon::ask;
pub use objects::ObjectGateway;
pub use options::{Options, Store, User};
pub use port::free_port;
