//! Bodies on their way, packed with zstd: the content coding `zstd` of HTTP.
//!
//! Only the way is packed. What a body means, its offsets, its digest and its root, is told of the plain bytes, so that
//! nothing else has to know. A body is a row of frames, each whole in itself: what arrived of one that breaks off can
//! be unpacked up to its last frame, and the next request begins with a frame of its own.
//!
//! A stranger's frames decide neither how much memory they take (the window is bounded, as RFC 9659 wants of all who
//! speak this coding) nor how much comes out of them (whoever unpacks says how much at most). Dictionaries are unknown
//! here. gzip and brotli were refused: one is slower than the line and the other made for text.

mod packer;
mod unpacker;

pub(crate) use packer::Packer;
pub(crate) use unpacker::{UnpackError, Unpacker};

/// The coding's name in `Content-Encoding` and `Accept-Encoding`.
pub const ZSTD: &str = "zstd";
