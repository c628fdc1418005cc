//! The crate against a real cluster.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must fail at once"
)]

mod alarm;
mod cluster;
mod data;
mod fault;
mod lock;
mod metadata;
mod object;
mod snapshot;
mod support;
