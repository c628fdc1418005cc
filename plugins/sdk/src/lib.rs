//! Write plugins for the rsnap gateway.
//!
//! A plugin is a type that is read from its own table of the gateway's configuration and implements one of
//! [`Writer`], [`Policy`] and [`Resolver`]; one macro exports it:
//!
//! ```ignore
//! use rsnap_plugin::policy::{Plan, Policy, Request};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct AlwaysFull {}
//!
//! impl Policy for AlwaysFull {
//!     fn decide(&self, _request: Request) -> Result<Plan, String> {
//!         Ok(Plan::full("this site keeps full copies only"))
//!     }
//! }
//! rsnap_plugin::export_policy!(AlwaysFull);
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`, make the component with `wasm-tools component new`, and test
//! it with `rsnap plugin check FILE`. The contract in full is in `wit/rsnap-plugin/*.wit`.

#[doc(hidden)]
pub mod bindings;
mod chains;
pub mod http;
mod instance;
pub mod keys;
mod log;
pub mod policy;
pub mod resolver;
pub mod writer;

pub use log::{Level, write_log};

/// Milliseconds since the Unix epoch, UTC, by the gateway's clock.
#[must_use]
pub fn now() -> u64 {
    bindings::writer::rsnap::plugin::clock::now()
}
