//! What a decision costs, in bytes that must be sent.
//!
//! Nobody knows before a snapshot is read what has changed in it, so this is an estimate, and from one thing only: what
//! the transfers of this volume have stored so far. Where they tell nothing the cost is unknown, and is not invented.

use crate::plugin::{Decision, PolicyRequest, SourceSnapshot, TargetSnapshot};

/// The bytes that `decision` makes the source send; `None` where nothing is known.
pub(super) fn of(request: &PolicyRequest, decision: &Decision) -> Option<u64> {
    match decision {
        Decision::Present | Decision::Refused => Some(0),
        Decision::Full => Some(full(request)),
        Decision::Incremental(base) => {
            let base = request.target.iter().find(|target| target.id == *base)?;
            Some(change(request, base)?.min(full(request)))
        }
    }
}

/// As much as the newest full copy stored; without one, the whole volume.
fn full(request: &PolicyRequest) -> u64 {
    let newest = request.target.iter().rev().find(|target| target.base.is_none());
    newest.map_or(request.wanted.size, |full| full.stored.min(request.wanted.size))
}

/// What has changed at the source since the base, step by step: what the target's copy of a step stored, and what a change
/// of this volume usually stores where there is none.
fn change(request: &PolicyRequest, base: &TargetSnapshot) -> Option<u64> {
    let wanted = request.source.iter().position(|snapshot| snapshot.id == request.wanted.id)?;
    let upto = request.source.get(..=wanted)?;
    let from = upto.iter().rposition(|snapshot| same_content(snapshot, base))?;
    let steps = upto.get(from + 1..)?;
    let usual = usual(request);
    steps.iter().map(|step| stored(request, step).or(usual)).sum()
}

/// What the copy of a step stored, if it was sent as a change.
fn stored(request: &PolicyRequest, step: &SourceSnapshot) -> Option<u64> {
    let copy = request.target.iter().rev().find(|target| target.base.is_some() && same_content(step, target))?;
    Some(copy.stored)
}

/// What a change of this volume stores on average.
fn usual(request: &PolicyRequest) -> Option<u64> {
    let (sum, count) = request
        .target
        .iter()
        .filter(|target| target.base.is_some())
        .fold((0_u64, 0_u64), |(sum, count), target| (sum.saturating_add(target.stored), count + 1));
    sum.checked_div(count)
}

fn same_content(source: &SourceSnapshot, target: &TargetSnapshot) -> bool {
    match &source.root {
        Some(root) => *root == target.root,
        None => target.source_snapshot.as_ref() == Some(&source.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::tests::support::{copy, request, source};

    fn chain() -> Vec<SourceSnapshot> {
        (1..=5).map(|number| source(&format!("s{number}"), Some(&format!("r{number}")))).collect()
    }

    /// Copies with what they stored; the first one is a full one.
    fn target(stored: &[(u32, u64)]) -> Vec<TargetSnapshot> {
        let made = stored.iter().enumerate().map(|(place, (number, stored))| TargetSnapshot {
            stored: *stored,
            base: (place > 0).then(|| "t1".parse().unwrap()),
            ..copy(&format!("t{number}"), &format!("r{number}"), &format!("s{number}"))
        });
        made.collect()
    }

    fn since(base: &str) -> Decision {
        Decision::Incremental(base.parse().unwrap())
    }

    #[test]
    fn nothing_is_sent_for_what_is_there_or_refused() {
        let request = request(chain(), vec![]);
        assert_eq!((of(&request, &Decision::Present), of(&request, &Decision::Refused)), (Some(0), Some(0)));
    }

    #[test]
    fn a_full_copy_costs_what_the_last_one_stored() {
        assert_eq!(of(&request(chain(), vec![]), &Decision::Full), Some(4096));
        assert_eq!(of(&request(chain(), target(&[(1, 1000), (2, 10)])), &Decision::Full), Some(1000));
    }

    #[test]
    fn a_change_costs_its_steps() {
        let known = request(chain(), target(&[(1, 1000), (2, 10), (3, 30)]));
        // One step to s4 and one to s5, both unknown: the usual 20 each.
        assert_eq!(of(&known, &since("t3")), Some(40));
        // s2 stored 10, s3 stored 30.
        assert_eq!(of(&known, &since("t1")), Some(80));
        let costly = request(chain(), target(&[(1, 50), (2, 40)]));
        assert_eq!(of(&costly, &since("t1")), Some(50), "never more than a full copy");
    }

    #[test]
    fn what_is_unknown_is_not_invented() {
        assert_eq!(of(&request(chain(), target(&[(1, 1000)])), &since("t1")), None);
        assert_eq!(of(&request(chain(), target(&[(1, 1000)])), &since("elsewhere")), None);
    }
}
