//! The policy `strict-order`: the snapshots of a volume are sent one after the other, and none is left out.
//!
//! For sites whose copies must have the same history as the source: an auditor who looks at the target's chain sees each
//! step. A snapshot is sent as the change since the one before it, which must be the newest on the target. Everything
//! else is refused, with the snapshot that has to be sent first.
//!
//! ```toml
//! [plugins.policy.settings]
//! from_oldest = false   # true: the first copy of a volume must be that of its oldest snapshot
//! begin_anew = false    # true: when the source has nothing before the wanted snapshot any more, a full copy is allowed
//! ```

use rsnap_plugin::policy::{Plan, Policy, Request, SourceSnapshot, TargetSnapshot};

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StrictOrder {
    from_oldest: bool,
    begin_anew: bool,
}

impl Policy for StrictOrder {
    fn decide(&self, request: Request) -> Result<Plan, String> {
        Ok(self.plan(&request))
    }
}

impl StrictOrder {
    fn plan(&self, request: &Request) -> Plan {
        if let Some(there) = request.there().filter(|there| request.same_content(&request.wanted, there)) {
            return Plan::present(format!("snapshot {} is on the target already", there.id));
        }
        match (request.earlier().last(), request.target.last()) {
            (None, None) => Plan::full("the first copy of this volume"),
            (Some(_), None) => self.first(request),
            (None, Some(newest)) => self.without_predecessor(newest),
            (Some(before), Some(newest)) => next(request, before, newest),
        }
    }

    /// The target has nothing yet, and the source has earlier snapshots.
    fn first(&self, request: &Request) -> Plan {
        match request.earlier().first() {
            Some(oldest) if self.from_oldest => Plan::refused(format!(
                "the copies of this volume begin with its oldest snapshot: send {} first",
                oldest.id
            )),
            _ => Plan::full("the copies of this volume begin here"),
        }
    }

    fn without_predecessor(&self, newest: &TargetSnapshot) -> Plan {
        if self.begin_anew {
            return Plan::full(format!(
                "the source has nothing before it any more; what follows {} begins anew",
                newest.id
            ));
        }
        Plan::refused(format!(
            "the target has {}, and the source tells no snapshot before the wanted one: whether one is left out cannot \
             be seen. Ask for a plan with the source's whole chain, or allow it with begin_anew",
            newest.id
        ))
    }
}

/// The wanted snapshot follows `before` at the source, and `newest` must be its copy.
fn next(request: &Request, before: &SourceSnapshot, newest: &TargetSnapshot) -> Plan {
    if request.same_content(before, newest) {
        return Plan::incremental(&newest.id, format!("it follows {}, which is the newest here", newest.id));
    }
    match request.copy_of(before) {
        None => Plan::refused(format!("{} comes before it and is not on the target: send that first", before.id)),
        Some(copy) => Plan::refused(format!("it follows {}, and the target has gone on to {}", copy.id, newest.id)),
    }
}

rsnap_plugin::export_policy!(StrictOrder);

#[cfg(test)]
mod tests {
    use rsnap_plugin::policy::Decision;

    use super::*;

    /// Snapshots by their numbers; the last of the source's is wanted, and the target's are copies.
    fn request(source: &[u32], target: &[u32]) -> Request {
        let snapshot =
            |number: &u32| SourceSnapshot { id: format!("s{number}"), size: 1, root: Some(format!("r{number}")) };
        let copy = |number: &u32| TargetSnapshot {
            id: format!("t{number}"),
            size: 1,
            root: format!("r{number}"),
            source_snapshot: None,
            source_volume: None,
            created: 0,
            stored: 0,
            base: None,
        };
        Request {
            volume: "v".to_owned(),
            snapshot: "wanted".to_owned(),
            source_volume: None,
            wanted: source.last().map(snapshot).unwrap(),
            source: source.iter().map(snapshot).collect(),
            target: target.iter().map(copy).collect(),
        }
    }

    fn decide(policy: &StrictOrder, source: &[u32], target: &[u32]) -> String {
        let plan = policy.plan(&request(source, target));
        match plan.decision {
            Decision::Present => "present".to_owned(),
            Decision::Full => "full".to_owned(),
            Decision::Incremental(base) => base,
            Decision::Refused => plan.reason,
        }
    }

    #[test]
    fn each_follows_the_one_before() {
        let strict = StrictOrder::default();
        assert_eq!(decide(&strict, &[1], &[]), "full");
        assert_eq!(decide(&strict, &[1, 2, 3], &[1, 2]), "t2");
        assert_eq!(decide(&strict, &[1, 2, 3], &[1]), "s2 comes before it and is not on the target: send that first");
        assert_eq!(decide(&strict, &[1, 2], &[1, 3]), "it follows t1, and the target has gone on to t3");
    }

    #[test]
    fn where_copies_begin_can_be_chosen() {
        let oldest = StrictOrder { from_oldest: true, ..StrictOrder::default() };
        assert_eq!(decide(&StrictOrder::default(), &[1, 2], &[]), "full");
        assert_eq!(
            decide(&oldest, &[1, 2], &[]),
            "the copies of this volume begin with its oldest snapshot: send s1 first"
        );
        assert_eq!(decide(&oldest, &[1], &[]), "full");
    }

    #[test]
    fn what_cannot_be_seen_is_refused_or_allowed() {
        let anew = StrictOrder { begin_anew: true, ..StrictOrder::default() };
        assert!(decide(&StrictOrder::default(), &[5], &[1]).contains("begin_anew"));
        assert_eq!(decide(&anew, &[5], &[1]), "full");
    }

    #[test]
    fn what_is_there_is_there() {
        let mut request = request(&[1, 2], &[1, 2]);
        request.target[1].id = "wanted".to_owned();
        assert!(matches!(StrictOrder::default().plan(&request).decision, Decision::Present));
    }
}
