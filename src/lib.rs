//! rsnap: block-level copies of volume snapshots between sites.
//!
//! The layers, each importing only downwards (held by a test of the integration suite):
//!
//! ```text
//! main → app → { net, http, admin, cli } → { transfer, client } → { plugin, cluster } → { image, keystone }
//!      → { accept, api, buffer, coding, drain, keys, quantity, retry, secret, telemetry, tls } → content → { id, metrics }
//! ```
//!
//! **Cancellation.** Code here is not cancel-safe unless it says so: a future that is dropped half-way may leave work
//! undone. An entry point therefore shields what must finish (a reception, a commit, a deletion) by running it on the
//! drain's tracker, and a client that goes away shows there as a broken body, not as a vanished task.

pub mod accept;
pub mod admin;
pub mod api;
pub mod app;
pub mod buffer;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod coding;
pub mod content;
pub mod drain;
pub mod http;
pub mod id;
pub mod image;
pub mod keys;
pub mod keystone;
pub mod metrics;
pub mod net;
pub mod plugin;
pub mod quantity;
pub mod retry;
pub mod secret;
pub mod telemetry;
pub mod tls;
pub mod transfer;
