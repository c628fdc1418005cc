//! The policy `full-only`: every snapshot is sent whole, so that each copy stands alone.
//!
//! It costs time and room, and buys that no copy depends on another. A change that a sender offers is refused.

use rsnap_plugin::policy::{Plan, Policy, Request};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FullOnly {}

impl Policy for FullOnly {
    fn decide(&self, request: Request) -> Result<Plan, String> {
        Ok(match request.there() {
            Some(there) if request.same_content(&request.wanted, there) => {
                Plan::present(format!("snapshot {} is on the target already", there.id))
            }
            _ => Plan::full("this site keeps full copies only"),
        })
    }
}

rsnap_plugin::export_policy!(FullOnly);
