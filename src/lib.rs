//! rsnap: block-level copies of volume snapshots between sites. See README.md.

pub mod api;
pub mod buffer;
pub mod content;
pub mod id;
pub mod image;
pub mod plugin;
pub mod quantity;
pub mod transfer;
