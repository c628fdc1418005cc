//! What the gateway asks a Keystone: a token of its own, and whether somebody else's is valid.
//!
//! Three requests of the whole interface, so no client of OpenStack's: those read catalogues that nobody needs here and
//! answers without a bound. Answers are parsed by their grammar and limited in size; the texts of tokens and passwords are
//! in no error and no log.

mod account;
mod answer;
mod session;

pub use account::{Account, Config, TIMEOUT_MAX, default_domain};
pub use answer::{Domain, Named, Project, Token};
pub use session::{Failure, Keystone};
