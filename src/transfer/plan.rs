//! What to send for one wanted snapshot: the chain policy proposes, the rules of data safety dispose.

use super::base::source_name;
use super::{TransferError, Transfers};
use crate::api::{Action, PlanAnswer, PlanBase, PlanRequest};
use crate::id::{SnapshotId, VolumeId};
use crate::image::{Chain, SnapshotRecord};
use crate::plugin::{Decision, Plan, PolicyRequest, SourceSnapshot, TargetSnapshot};

/// Snapshots in one plan request, at most.
const CHAIN_MAX: usize = 100_000;

impl Transfers {
    /// What to send for one wanted snapshot.
    pub async fn plan(
        &self,
        volume: &VolumeId,
        snapshot: &SnapshotId,
        request: &PlanRequest,
    ) -> Result<PlanAnswer, TransferError> {
        let (store, image) = self.locate(volume).await?;
        let chain = store.chain(&image).await?;
        let request = policy_request(volume, snapshot, request, &chain)?;
        let plan = self.policy.decide(&request).await?;
        let answer = judge(plan, &request, &chain, self.policy.name());
        if answer.action == Action::Present {
            // To its sender this is the success that he may not have heard.
            store.confirm(&image).await?;
        }
        tracing::info!(%volume, %snapshot, action = ?answer.action, reason = answer.reason, "plan");
        Ok(answer)
    }
}

fn policy_request(
    volume: &VolumeId,
    snapshot: &SnapshotId,
    request: &PlanRequest,
    chain: &Chain,
) -> Result<PolicyRequest, TransferError> {
    if request.chain.len() > CHAIN_MAX {
        return Err(TransferError::Request(format!("a chain has at most {CHAIN_MAX} snapshots in a plan request")));
    }
    let source: Vec<SourceSnapshot> = request
        .chain
        .iter()
        .map(|entry| SourceSnapshot { id: entry.id.clone(), size: entry.size, root: entry.root.clone() })
        .collect();
    let wanted = source.iter().find(|entry| entry.id == request.wanted).cloned().ok_or_else(|| {
        TransferError::Request(format!("the wanted snapshot {:?} is not in the chain of the request", request.wanted))
    })?;
    let source_volume = request.source_volume.clone();
    let target = targets(chain);
    Ok(PolicyRequest { volume: volume.clone(), snapshot: snapshot.clone(), source_volume, wanted, source, target })
}

/// The target's chain as policies see it.
pub(super) fn targets(chain: &Chain) -> Vec<TargetSnapshot> {
    let entry = |record: &SnapshotRecord| TargetSnapshot {
        id: record.snapshot.clone(),
        size: record.size,
        root: record.root.to_string(),
        source_snapshot: Some(source_name(record).to_owned()),
        source_volume: record.identity.source_volume.clone(),
        created: record.created_ms,
    };
    chain.snapshots.iter().map(entry).collect()
}

/// Turns a policy's proposal into a plan that cannot harm: a base must be in both chains with the same content.
fn judge(plan: Plan, request: &PolicyRequest, chain: &Chain, policy: &str) -> PlanAnswer {
    let answer = |action, base, reason| PlanAnswer { action, base, reason, policy: policy.to_owned() };
    if let Some(there) = chain.find(&request.snapshot) {
        return if same_content(&request.wanted, there, request) {
            answer(Action::Present, None, format!("{} is here already with this content", there.snapshot))
        } else {
            let text =
                format!("{} is here already with other content ({}); delete it first", there.snapshot, there.root);
            answer(Action::Refused, None, text)
        };
    }
    match plan.decision {
        Decision::Refused => answer(Action::Refused, None, plan.reason),
        Decision::Full => answer(Action::Full, None, plan.reason),
        Decision::Present => answer(
            Action::Full,
            None,
            format!(
                "the policy takes it for present ({}), but there is no snapshot {} here",
                plan.reason, request.snapshot
            ),
        ),
        Decision::Incremental(base) => match usable_base(&base, request, chain) {
            Ok(base) => answer(Action::Incremental, Some(base), plan.reason),
            Err(fault) => answer(Action::Full, None, format!("the policy proposed the base {base}, but {fault}")),
        },
    }
}

fn usable_base(base: &SnapshotId, request: &PolicyRequest, chain: &Chain) -> Result<PlanBase, String> {
    let record = chain.find(base).ok_or_else(|| "it is not in the target's chain".to_owned())?;
    let before = request.source.iter().filter(|entry| entry.id != request.wanted.id);
    let at_source = before.clone().find(|entry| same_content(entry, record, request));
    let at_source = at_source.ok_or_else(|| "the source has no earlier snapshot with the same content".to_owned())?;
    Ok(PlanBase {
        snapshot: record.snapshot.to_string(),
        source_snapshot: Some(at_source.id.clone()),
        root: record.root.to_string(),
    })
}

/// Equal roots prove it; without a root at the source, the identity recorded at the commit has to do, and the
/// transfer itself proves the rest.
fn same_content(source: &SourceSnapshot, target: &SnapshotRecord, request: &PolicyRequest) -> bool {
    match &source.root {
        Some(root) => *root == target.root.to_string(),
        None => {
            let volumes = (&request.source_volume, &target.identity.source_volume);
            let same_volume = !matches!(volumes, (Some(told), Some(recorded)) if told != recorded);
            same_volume && source.size == target.size && source_name(target) == source.id
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Hash, Root};
    use crate::image::Identity;

    fn record(id: &str, seed: u8, source: Option<&str>) -> SnapshotRecord {
        SnapshotRecord {
            volume: "v".parse().unwrap(),
            snapshot: id.parse().unwrap(),
            name: format!("snapshot-{id}").parse().unwrap(),
            size: 4096,
            root: Root::new(4096, Hash([seed; 32])),
            identity: Identity { source_volume: None, source_snapshot: source.map(str::to_owned) },
            base: None,
            created_ms: 0,
            stored: 0,
        }
    }

    fn request(wanted_root: Option<Root>, base_root: Option<Root>) -> PolicyRequest {
        let entry = |id: &str, root: Option<Root>| SourceSnapshot {
            id: id.to_owned(),
            size: 4096,
            root: root.map(|root| root.to_string()),
        };
        PolicyRequest {
            volume: "v".parse().unwrap(),
            snapshot: "t2".parse().unwrap(),
            source_volume: None,
            wanted: entry("s2", wanted_root),
            source: vec![entry("s1", base_root), entry("s2", wanted_root)],
            target: Vec::new(),
        }
    }

    fn proposal(decision: Decision) -> Plan {
        Plan { decision, reason: "because".to_owned() }
    }

    #[test]
    fn a_base_with_other_content_becomes_a_full() {
        let chain = Chain { snapshots: vec![record("t1", 1, Some("s1"))], damaged: Vec::new() };
        let base = Decision::Incremental("t1".parse().unwrap());
        let same = request(None, Some(chain.snapshots[0].root));
        assert_eq!(judge(proposal(base.clone()), &same, &chain, "p").action, Action::Incremental);
        let by_identity = request(None, None);
        assert_eq!(judge(proposal(base.clone()), &by_identity, &chain, "p").action, Action::Incremental);
        let other = request(None, Some(Root::new(4096, Hash([2; 32]))));
        let answer = judge(proposal(base), &other, &chain, "p");
        assert_eq!((answer.action, answer.base), (Action::Full, None));
        let unknown = Decision::Incremental("t9".parse().unwrap());
        assert_eq!(judge(proposal(unknown), &same, &chain, "p").action, Action::Full);
    }

    #[test]
    fn what_is_there_is_present_or_refused_whatever_the_policy_says() {
        let chain = Chain { snapshots: vec![record("t2", 2, Some("s2"))], damaged: Vec::new() };
        let equal = request(Some(chain.snapshots[0].root), None);
        assert_eq!(judge(proposal(Decision::Full), &equal, &chain, "p").action, Action::Present);
        let other = request(Some(Root::new(4096, Hash([3; 32]))), None);
        assert_eq!(judge(proposal(Decision::Present), &other, &chain, "p").action, Action::Refused);
    }

    #[test]
    fn a_policy_cannot_declare_present_what_is_not_there() {
        let answer = judge(proposal(Decision::Present), &request(None, None), &Chain::default(), "p");
        assert_eq!(answer.action, Action::Full);
    }
}
