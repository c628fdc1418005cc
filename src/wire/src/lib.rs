//! Formats and headers that strangers send us: no I/O, no unsafe code, every byte suspected.
//!
//! The decoders are pushed: the caller hands over whatever came from the network, cut anywhere, and asks for events
//! until there are none. Payload is never copied, it is lent out of the caller's input; what is kept between two calls
//! is one unfinished field. Nothing is allocated by a length that the stream claims. A pulling parser over `Read` was
//! refused: it needs a thread or a second, asynchronous copy of each format, and buffers of its own.
//!
//! The rules are stricter than those of `rbd import-diff`, see `README.md`; whoever reads a decoder's events to
//! [`Event::End`] and sees its `finish` succeed has a stream in which every extent is inside the image, once.

#![forbid(unsafe_code)]

pub mod chain;
mod cursor;
pub mod digest;
mod error;
mod event;
mod layout;
pub mod pages;
pub mod range;
pub mod raw;
pub mod rbd_diff;
mod snapshot;

pub use error::{Error, Fault};
pub use event::Event;
pub use layout::NAME_BYTES;
pub use snapshot::SnapshotDecoder;
