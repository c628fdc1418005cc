//! rsnap: block-level copies of volume snapshots between sites. See README.md.

pub mod accept;
pub mod admin;
pub mod api;
pub mod buffer;
pub mod cli;
pub mod client;
pub mod content;
pub mod drain;
pub mod http;
pub mod id;
pub mod image;
pub mod metrics;
pub mod net;
pub mod plugin;
pub mod quantity;
pub mod retry;
pub mod secret;
pub mod telemetry;
pub mod tls;
pub mod transfer;
