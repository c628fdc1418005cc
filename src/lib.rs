//! rsnap: block-level copies of volume snapshots between sites. See README.md.

pub mod api;
pub mod buffer;
pub mod content;
pub mod id;
pub mod image;
pub mod cli;
pub mod client;
pub mod plugin;
pub mod retry;
pub mod transfer;
