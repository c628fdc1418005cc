//! The policy `nearest-base`: sends the change since the newest snapshot that both sides hold with the same content.

use rsnap_plugin::policy::{Plan, Policy, Request};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NearestBase {}

impl Policy for NearestBase {
    fn decide(&self, request: Request) -> Result<Plan, String> {
        if let Some(there) = request.there() {
            if request.same_content(&request.wanted, there) {
                return Ok(Plan::present(format!("snapshot {} is on the target already", there.id)));
            }
            if request.wanted.root.is_some() {
                return Ok(Plan::refused(format!("snapshot {} is on the target with other content", there.id)));
            }
        }
        if request.target.is_empty() {
            return Ok(Plan::full("the target has no snapshot of this volume yet"));
        }
        let newest = request.common().next();
        Ok(match newest {
            Some((source, base)) => Plan::incremental(
                &base.id,
                format!("the change since {} is enough: the target has the same content as {}", source.id, base.id),
            ),
            None => Plan::full("no earlier snapshot of the source is on the target with the same content"),
        })
    }
}

rsnap_plugin::export_policy!(NearestBase);
