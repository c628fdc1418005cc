//! The policy `nearest-base`: sends the change since the newest snapshot that both sides hold with the same content.
//!
//! Two snapshots are the same content when their content roots are equal. Where the sender does not know a root, they
//! are taken for the same when the target's is recorded as a copy of that snapshot; the host proves it before anything
//! is committed.

use rsnap_plugin::policy::{Plan, Policy, Request, SourceSnapshot, TargetSnapshot};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NearestBase {}

impl Policy for NearestBase {
    fn decide(&self, request: Request) -> Result<Plan, String> {
        if let Some(there) = request.target.iter().find(|target| target.id == request.snapshot) {
            if same_content(&request.wanted, there, request.source_volume.as_deref()) {
                return Ok(Plan::present(format!("snapshot {} is on the target already", there.id)));
            }
            if request.wanted.root.is_some() {
                return Ok(Plan::refused(format!("snapshot {} is on the target with other content", there.id)));
            }
        }
        if request.target.is_empty() {
            return Ok(Plan::full("the target has no snapshot of this volume yet"));
        }
        let end = request.source.iter().position(|snapshot| snapshot.id == request.wanted.id).unwrap_or_default();
        let mut earlier = request.source.iter().take(end).rev();
        let common = earlier.find_map(|snapshot| Some((snapshot, copy_of(snapshot, &request)?)));
        Ok(match common {
            Some((source, base)) => Plan::incremental(
                &base.id,
                format!("the change since {} is enough: the target has the same content as {}", source.id, base.id),
            ),
            None => Plan::full("no earlier snapshot of the source is on the target with the same content"),
        })
    }
}

/// The target's snapshot with the content of `source`; the newest, if there are several.
fn copy_of<'a>(source: &SourceSnapshot, request: &'a Request) -> Option<&'a TargetSnapshot> {
    request.target.iter().rev().find(|target| same_content(source, target, request.source_volume.as_deref()))
}

fn same_content(source: &SourceSnapshot, target: &TargetSnapshot, volume: Option<&str>) -> bool {
    match &source.root {
        Some(root) => *root == target.root,
        None => {
            let other_volume = matches!((volume, &target.source_volume), (Some(told), Some(recorded)) if told != recorded);
            !other_volume && target.source_snapshot.as_ref() == Some(&source.id) && source.size == target.size
        }
    }
}

rsnap_plugin::export_policy!(NearestBase);
