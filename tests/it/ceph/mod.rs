//! Ceph at both ends: real clusters, the stock tools as peer, and `rbd export | sha256sum` as the judge.
//!
//! Tests share two clusters, a source's and a target's, each in namespaces of its own. Those that stop, fill or
//! configure a cluster start one.

mod capabilities;
mod chain;
mod commit;
mod findings;
mod judge;
mod outages;
mod refusals;
mod repair;
mod source;
mod stock;
mod story;
pub mod support;
mod takeover;
mod uploads;
