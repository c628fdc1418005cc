//! The sender's and the restorer's side of the gateway's HTTP interface.
//!
//! Built on hyper's HTTP/1.1 connection and nothing above it: a transfer needs one connection, a body that is made
//! while it is sent, trailers, an answer that may come before the body's end, and the choice of which certificate
//! proves the peer at a bare `ip:port`. Client libraries hide exactly these. HTTP/2 was refused for transfers: its
//! flow control and its multiplexing cost a core's worth of copies and gain one stream nothing.
//!
//! | module | does |
//! |---|---|
//! | `endpoint`, `tls`, `connection`, `body`, `answer` | one request and its answer |
//! | `rate` | how many bytes a second may move |
//! | `gateway` | the calls of the interface, typed |
//! | `source` | reads what is to be sent |
//! | `root` | computes content roots on the way |
//! | `tree` | content trees here and there, and where two differ |
//! | `chains` | the snapshots of two sites, compared |
//! | `send`, `restore`, `verify`, `repair` | whole operations with plan, retries and proofs |
//! | `progress` | what an operation tells to whoever started it |

mod answer;
mod body;
mod chains;
mod connection;
mod distrust;
mod endpoint;
mod error;
mod gateway;
mod kept;
mod progress;
mod rate;
pub mod repair;
pub mod restore;

mod root;
pub mod send;
pub mod source;
mod thread;
mod tls;
mod tree;
pub mod verify;

#[cfg(test)]
pub(crate) mod fake;

pub use chains::{Chains, Relation, Row, compare};
pub use connection::Limits;
pub use endpoint::{Endpoint, Proof};
pub(crate) use error::kind;
pub use error::{ClientError, Heal};
pub use gateway::{Gateway, Permission, Ticketed};
pub use progress::{Event, Meter, Outcome, Reporter, Stage};
pub use rate::{LOWEST as LOWEST_RATE, Rate};
pub use root::RootMeter;
pub(crate) use root::{BlockHashes, leaves_of};
pub(crate) use thread::on_thread;
pub use tls::Trust;
