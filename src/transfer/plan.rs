//! What to send for one wanted snapshot: the chain policy proposes, the rules of data safety dispose.

use super::base::source_name;
use super::{TransferError, Transfers};
use crate::api::{self, Action, PlanAnswer, PlanBase, PlanRequest};
use crate::id::{SnapshotId, SourceMark, VolumeId};
use crate::image::{Chain, SnapshotRecord};
use crate::plugin::{Decision, Plan, PolicyRequest, SourceSnapshot, TargetSnapshot};

/// Snapshots in one plan request, at most.
const CHAIN_MAX: usize = 100_000;

impl Transfers {
    /// What to send for one wanted snapshot; `sender` as in [`Upload::sender`](super::Upload::sender).
    pub async fn plan(
        &self,
        volume: &VolumeId,
        snapshot: &SnapshotId,
        sender: Option<&str>,
        request: &PlanRequest,
    ) -> Result<PlanAnswer, TransferError> {
        let (store, image) = self.locate(volume).await?;
        let chain = store.chain(&image).await?;
        let question = Question::new(volume, snapshot, sender, request, &chain)?;
        let policy = self.policy.now();
        let plan = policy.decide(&question.for_policy()).await?;
        let answer = question.judge(plan, policy.name());
        if answer.action == Action::Present {
            // To its sender this is the success that he may not have heard.
            store.confirm(&image).await?;
        }
        tracing::info!(%volume, %snapshot, action = ?answer.action, reason = answer.reason, "plan");
        Ok(answer)
    }
}

/// What is asked, and what is known of the answer.
struct Question<'a> {
    volume: &'a VolumeId,
    snapshot: &'a SnapshotId,
    sender: Option<&'a str>,
    request: &'a PlanRequest,
    wanted: &'a api::SourceSnapshot,
    chain: &'a Chain,
}

/// How alike a snapshot of the source and one of the target are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// Equal content roots, or equal marks of the same sender.
    Proven,
    /// The names and sizes agree, and nothing is known to the contrary.
    Named,
    Different,
}

impl<'a> Question<'a> {
    fn new(
        volume: &'a VolumeId,
        snapshot: &'a SnapshotId,
        sender: Option<&'a str>,
        request: &'a PlanRequest,
        chain: &'a Chain,
    ) -> Result<Self, TransferError> {
        if request.chain.len() > CHAIN_MAX {
            return Err(TransferError::Request(format!("a chain has at most {CHAIN_MAX} snapshots in a plan request")));
        }
        for mark in request.chain.iter().filter_map(|entry| entry.mark.as_deref()) {
            mark.parse::<SourceMark>().map_err(|fault| TransferError::Request(fault.to_string()))?;
        }
        let refuse = |fault: &str| {
            TransferError::Request(format!(
                "the wanted snapshot {:?} is {fault} the chain of the request",
                request.wanted
            ))
        };
        let mut found = request.chain.iter().filter(|entry| entry.id == request.wanted);
        match (found.next(), found.next()) {
            (Some(wanted), None) => Ok(Self { volume, snapshot, sender, request, wanted, chain }),
            (None, _) => Err(refuse("not in")),
            (Some(_), Some(_)) => Err(refuse("twice in")),
        }
    }

    /// As the policy sees it. Policies compare roots, and names where there is none: where marks prove the same content,
    /// the source's root is known. Where they do not, a name must not make a base of it, so the mark stands for the root
    /// and equals none; left out, the snapshot would be a gap in the chain that no policy can see.
    fn for_policy(&self) -> PolicyRequest {
        let marked = |entry: &api::SourceSnapshot| {
            let record = self.chain.snapshots.iter().find(|record| self.same_mark(entry, record));
            record.map(|record| record.root.to_string())
        };
        let seen = |entry: &api::SourceSnapshot| {
            let other =
                || entry.mark.as_ref().filter(|_| entry.id != self.wanted.id).map(|mark| format!("mark:{mark}"));
            let root = entry.root.clone().or_else(|| marked(entry)).or_else(other);
            SourceSnapshot { id: entry.id.clone(), size: entry.size, root }
        };
        PolicyRequest {
            volume: self.volume.clone(),
            snapshot: self.snapshot.clone(),
            source_volume: self.request.source_volume.clone(),
            wanted: seen(self.wanted),
            source: self.request.chain.iter().map(seen).collect(),
            target: targets(self.chain),
        }
    }

    /// Turns a policy's proposal into a plan that cannot harm: a base must be in both chains with the same content.
    fn judge(&self, plan: Plan, policy: &str) -> PlanAnswer {
        let answer =
            |action, reason| PlanAnswer { action, base: None, reason, policy: policy.to_owned(), proven: false };
        if let Some(there) = self.chain.find(self.snapshot) {
            let (here, likeness) = (&there.snapshot, self.likeness(self.wanted, there));
            return if likeness == Likeness::Different {
                let text = format!("{here} is here already with other content ({}); delete it first", there.root);
                answer(Action::Refused, text)
            } else {
                let proven = likeness == Likeness::Proven;
                let text = format!("{here} is here already with this content");
                PlanAnswer { proven, ..answer(Action::Present, text) }
            };
        }
        match plan.decision {
            Decision::Refused => answer(Action::Refused, plan.reason),
            Decision::Full => answer(Action::Full, plan.reason),
            Decision::Present => {
                let (reason, wanted) = (plan.reason, self.snapshot);
                let text =
                    format!("the policy takes it for present ({reason}), but there is no snapshot {wanted} here");
                answer(Action::Full, text)
            }
            Decision::Incremental(base) => match self.usable_base(&base) {
                Ok((base, proven)) => {
                    PlanAnswer { base: Some(base), proven, ..answer(Action::Incremental, plan.reason) }
                }
                Err(fault) => answer(Action::Full, format!("the policy proposed the base {base}, but {fault}")),
            },
        }
    }

    /// The base for the answer, and whether its content is proven to be the same on both sides.
    fn usable_base(&self, base: &SnapshotId) -> Result<(PlanBase, bool), String> {
        let record = self.chain.find(base).ok_or_else(|| "it is not in the target's chain".to_owned())?;
        let before = self.request.chain.iter().filter(|entry| entry.id != self.wanted.id);
        let likeness = |entry: &'a api::SourceSnapshot| (entry, self.likeness(entry, record));
        let usable = |(entry, likeness): &(&api::SourceSnapshot, Likeness)| match likeness {
            Likeness::Proven => true,
            // Who knows marks knows that this one is another's, or was sent without: a name proves less than that.
            Likeness::Named => entry.mark.is_none(),
            Likeness::Different => false,
        };
        let found = before.map(likeness).filter(usable).max_by_key(|(_, likeness)| *likeness == Likeness::Proven);
        let (at_source, likeness) =
            found.ok_or_else(|| "the source has no earlier snapshot with the same content".to_owned())?;
        let base = PlanBase {
            snapshot: record.snapshot.to_string(),
            source_snapshot: Some(at_source.id.clone()),
            root: record.root.to_string(),
        };
        Ok((base, likeness == Likeness::Proven))
    }

    /// Equal roots prove it, and so do equal marks. Without either the identity recorded at the commit has to do, and
    /// the transfer itself proves the rest.
    fn likeness(&self, source: &api::SourceSnapshot, target: &SnapshotRecord) -> Likeness {
        if let Some(root) = &source.root {
            return if *root == target.root.to_string() { Likeness::Proven } else { Likeness::Different };
        }
        if self.same_mark(source, target) {
            return Likeness::Proven;
        }
        let volumes = (&self.request.source_volume, &target.identity.source_volume);
        let same_volume = !matches!(volumes, (Some(told), Some(recorded)) if told != recorded);
        let named = same_volume && source.size == target.size && source_name(target) == source.id;
        if named { Likeness::Named } else { Likeness::Different }
    }

    fn same_mark(&self, source: &api::SourceSnapshot, target: &SnapshotRecord) -> bool {
        let mark = source.mark.as_deref().and_then(|mark| mark.parse().ok());
        target.identity.has_mark(mark.as_ref(), self.sender)
    }
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
        stored: record.stored,
        base: record.base.clone(),
    };
    chain.snapshots.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Hash, Root};
    use crate::image::Identity;

    const SENDER: &str = "token:one";

    fn record(id: &str, seed: u8, source: Option<&str>, mark: Option<&str>) -> SnapshotRecord {
        let source_mark = mark.map(|mark| mark.parse().unwrap());
        SnapshotRecord {
            volume: "v".parse().unwrap(),
            snapshot: id.parse().unwrap(),
            name: format!("snapshot-{id}").parse().unwrap(),
            size: 4096,
            root: Root::new(4096, Hash([seed; 32])),
            identity: Identity {
                source_volume: None,
                source_snapshot: source.map(str::to_owned),
                marked_by: mark.map(|_| SENDER.to_owned()),
                source_mark,
            },
            base: None,
            created_ms: 0,
            stored: 0,
        }
    }

    fn chain(records: Vec<SnapshotRecord>) -> Chain {
        Chain { snapshots: records, damaged: Vec::new() }
    }

    fn root(seed: u8) -> Option<String> {
        Some(Root::new(4096, Hash([seed; 32])).to_string())
    }

    fn entry(id: &str, root: Option<String>, mark: Option<&str>) -> api::SourceSnapshot {
        api::SourceSnapshot { id: id.to_owned(), size: 4096, root, mark: mark.map(str::to_owned) }
    }

    /// `s1` and `s2` of the source, of which the second is wanted as `t2`.
    fn judged(chain: &Chain, base: api::SourceSnapshot, wanted: api::SourceSnapshot, decision: Decision) -> PlanAnswer {
        judged_for(Some(SENDER), chain, base, wanted, decision)
    }

    fn judged_for(
        sender: Option<&str>,
        chain: &Chain,
        base: api::SourceSnapshot,
        wanted: api::SourceSnapshot,
        decision: Decision,
    ) -> PlanAnswer {
        let request = PlanRequest { source_volume: None, wanted: wanted.id.clone(), chain: vec![base, wanted] };
        let (volume, snapshot) = ("v".parse().unwrap(), "t2".parse().unwrap());
        let question = Question::new(&volume, &snapshot, sender, &request, chain).unwrap();
        question.judge(Plan { decision, reason: "because".to_owned() }, "p")
    }

    fn since(id: &str) -> Decision {
        Decision::Incremental(id.parse().unwrap())
    }

    #[test]
    fn a_base_with_other_content_becomes_a_full() {
        let chain = chain(vec![record("t1", 1, Some("s1"), None)]);
        let wanted = || entry("s2", None, None);
        let same = judged(&chain, entry("s1", root(1), None), wanted(), since("t1"));
        assert_eq!((same.action, same.proven), (Action::Incremental, true));
        let by_identity = judged(&chain, entry("s1", None, None), wanted(), since("t1"));
        assert_eq!((by_identity.action, by_identity.proven), (Action::Incremental, false));
        let other = judged(&chain, entry("s1", root(2), None), wanted(), since("t1"));
        assert_eq!((other.action, other.base), (Action::Full, None));
        assert_eq!(judged(&chain, entry("s1", root(1), None), wanted(), since("t9")).action, Action::Full);
    }

    #[test]
    fn a_base_is_proven_by_its_mark_and_by_no_other() {
        let chain = chain(vec![record("t1", 1, Some("s1"), Some("rbd:f/1/i@5")), record("t0", 1, Some("s0"), None)]);
        let plan = |id: &str, mark: &str, decision| {
            judged(&chain, entry(id, None, Some(mark)), entry("s2", None, None), decision)
        };
        let same = plan("renamed", "rbd:f/1/i@5", since("t1"));
        assert_eq!((same.action, same.proven), (Action::Incremental, true));
        assert_eq!(same.base.unwrap().source_snapshot.as_deref(), Some("renamed"));
        assert_eq!(plan("s1", "rbd:f/1/i@6", since("t1")).action, Action::Full, "made again under the same name");
        assert_eq!(plan("s0", "rbd:f/1/i@4", since("t0")).action, Action::Full, "never compared");
    }

    #[test]
    fn a_mark_proves_nothing_to_another_sender() {
        let chain = chain(vec![record("t1", 1, Some("s1"), Some("m1")), record("t2", 2, Some("s2"), Some("m2"))]);
        let base = |root| entry("s1", root, Some("m1"));
        for other in [Some("token:two"), None] {
            let plan = |root, wanted: &str| {
                let (volume, snapshot) = ("v".parse().unwrap(), wanted.parse().unwrap());
                let wanted = entry("s9", None, Some("m9"));
                let request =
                    PlanRequest { source_volume: None, wanted: "s9".to_owned(), chain: vec![base(root), wanted] };
                let question = Question::new(&volume, &snapshot, other, &request, &chain).unwrap();
                question.judge(Plan { decision: since("t1"), reason: "because".to_owned() }, "p")
            };
            assert_eq!(plan(None, "t9").action, Action::Full, "{other:?}");
            let known = plan(root(1), "t9");
            assert_eq!((known.action, known.proven), (Action::Incremental, true), "it names the content");
            let there = judged_for(other, &chain, base(None), entry("s2", None, Some("m2")), Decision::Present);
            assert_eq!((there.action, there.proven), (Action::Present, false));
        }
    }

    #[test]
    fn policies_see_the_root_that_a_mark_proves() {
        let chain = chain(vec![record("t1", 1, Some("s1"), Some("m1"))]);
        let request = PlanRequest {
            source_volume: None,
            wanted: "s2".to_owned(),
            chain: vec![entry("x", None, Some("m1")), entry("s1", None, Some("m0")), entry("s2", None, Some("m2"))],
        };
        let (volume, snapshot) = ("v".parse().unwrap(), "t2".parse().unwrap());
        let seen = Question::new(&volume, &snapshot, Some(SENDER), &request, &chain).unwrap().for_policy();
        let source: Vec<_> = seen.source.iter().map(|entry| (&*entry.id, entry.root.clone())).collect();
        let other = Some("mark:m0".to_owned());
        assert_eq!((source, seen.wanted.root), (vec![("x", root(1)), ("s1", other), ("s2", None)], None));
        let request = PlanRequest { chain: vec![entry("s2", None, Some("a b"))], ..request };
        assert!(matches!(
            Question::new(&volume, &snapshot, Some(SENDER), &request, &chain),
            Err(TransferError::Request(_))
        ));
        let twice = vec![entry("s2", None, None), entry("s2", None, None)];
        let request = PlanRequest { chain: twice, ..request };
        assert!(matches!(
            Question::new(&volume, &snapshot, Some(SENDER), &request, &chain),
            Err(TransferError::Request(_))
        ));
    }

    #[test]
    fn what_is_there_is_present_or_refused_whatever_the_policy_says() {
        let chain = chain(vec![record("t2", 2, Some("s2"), Some("m2"))]);
        let wanted = |root, mark, decision| judged(&chain, entry("s1", None, None), entry("s2", root, mark), decision);
        for (root, mark, action, proven) in [
            (root(2), None, Action::Present, true),
            (root(3), Some("m2"), Action::Refused, false),
            (None, Some("m2"), Action::Present, true),
            (None, Some("m3"), Action::Present, false),
            (None, None, Action::Present, false),
        ] {
            for decision in [Decision::Full, Decision::Present] {
                let answer = wanted(root.clone(), mark, decision);
                assert_eq!((answer.action, answer.proven), (action, proven), "{root:?} {mark:?}");
            }
        }
    }

    #[test]
    fn a_policy_cannot_declare_present_what_is_not_there() {
        let wanted = entry("s2", None, None);
        let answer = judged(&Chain::default(), entry("s1", None, None), wanted, Decision::Present);
        assert_eq!(answer.action, Action::Full);
    }
}
