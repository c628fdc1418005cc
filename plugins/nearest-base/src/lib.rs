//! The policy `nearest-base`: sends the change since the newest snapshot that both sides hold with the same content.
//!
//! Where there is none (it was deleted at the source, or the chains have diverged), what the target has is mostly still
//! close to what is wanted: the newest snapshot there is named as the base, and a sender who can compare content trees
//! sends only what differs from it.

use rsnap_plugin::policy::{Plan, Policy, Request, TargetSnapshot};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NearestBase {
    /// Whether a snapshot that the source does not have may be a base. The sender then reads all of its image once.
    #[serde(default = "rebases")]
    rebase: bool,
}

fn rebases() -> bool {
    true
}

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
            None => match request.target.iter().rev().find(|there| self.rebase && is_of_volume(&request, there)) {
                Some(base) => Plan::incremental(
                    &base.id,
                    format!(
                        "no earlier snapshot of the source is on the target; what differs from {} is enough",
                        base.id
                    ),
                ),
                None => Plan::full("no earlier snapshot of the source is on the target with the same content"),
            },
        })
    }
}

/// Not a copy of another volume, as far as is known.
fn is_of_volume(request: &Request, there: &TargetSnapshot) -> bool {
    !matches!((&request.source_volume, &there.source_volume), (Some(told), Some(recorded)) if told != recorded)
}

rsnap_plugin::export_policy!(NearestBase);
