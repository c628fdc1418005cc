//! Safe bindings of Ceph's librbd and librados, loaded when they are needed.
//!
//! No crate wraps RBD safely, and linking to it would make every build need Ceph and every gateway refuse to start
//! without it. So the declarations are generated once ([`bindings`]), committed, and bound with `dlopen` by
//! [`Library::load`], which says clearly what is missing. Linking was refused, and so were hand-written declarations:
//! nothing would check them against the headers.
//!
//! What is safe about it:
//! - **Buffers.** An asynchronous operation owns its buffer until the library's callback has run; a future that is
//!   dropped early gives up the answer and not the memory. Dropping it does not cancel the operation.
//! - **Handles.** A connection outlives its pools, a pool its images, an image its operations. Closing can take as long
//!   as the cluster does not answer, so `drop` leaves it to a thread of its own; [`closed`] waits for those threads.
//! - **Callbacks** run on the library's threads and neither block nor unwind into it.
//!
//! What is blocking is said at each method: those run on a thread that may wait. All sizes and offsets are bytes.
//!
//! **An operation that timed out may still take effect later**, as may those of a client that is cut off: before
//! anybody else relies on what the image holds, that client has to be blocklisted.
#![warn(missing_docs)]
#![allow(unsafe_code, reason = "calling C; each block says why it is sound, and this crate does nothing else")]

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::undocumented_unsafe_blocks,
    missing_debug_implementations,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    dead_code,
    reason = "generated"
)]
mod bindings;
mod cluster;
mod completion;
mod dispose;
mod error;
mod image;
mod library;
mod object;
mod object_lock;
mod pool;
mod text;

pub use cluster::{Cluster, Settings};
pub use dispose::closed;
pub use error::{Error, Kind};
pub use image::{Extent, Flags, Image, Locker, Snapshot, Watcher};
pub use library::{Library, Unavailable};
pub use pool::{Features, ImageName, Layout, Mode, Pool, SnapshotReference};
