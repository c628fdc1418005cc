//! The policy `retention`: `nearest-base` that does not build on what is about to be deleted.
//!
//! Snapshots are deleted by somebody else: a scheduler at the source that keeps the last seven, a job at the target that
//! keeps a month. A transfer may take hours, and both of its ends must last until it is over:
//!
//! - The wanted snapshot, at the source. One that is deleted while it is read becomes a well-formed stream of zeroes with
//!   tools that cannot notice, so a snapshot that the source is about to delete is **refused**; a newer one is to be sent.
//! - The base, on both sides. One that is about to be deleted on either side is **not used**: the next older one that
//!   stays is, or a full copy is sent, which costs more and depends on nothing.
//!
//! *About to be deleted* is what the next deletions would take: a snapshot that `margin` new ones would push out of the
//! number that is kept, or that is older than the days that are kept, less `margin` days. What is not set is not
//! deleted.
//!
//! ```toml
//! [plugins.policy.settings]
//! source_keep = 7     # snapshots of a volume that the source keeps
//! target_keep = 30    # and the target
//! target_days = 30    # days that the target keeps them
//! margin = 1          # how many deletions ahead; at least as many as may happen while a transfer runs
//! ```

use rsnap_plugin::policy::{Plan, Policy, Request, SourceSnapshot, TargetSnapshot};

const MILLISECONDS_PER_DAY: u64 = 86_400_000;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Retention {
    #[serde(default)]
    source_keep: Option<usize>,
    #[serde(default)]
    target_keep: Option<usize>,
    #[serde(default)]
    target_days: Option<u64>,
    #[serde(default = "one")]
    margin: usize,
}

fn one() -> usize {
    1
}

impl Policy for Retention {
    fn check(&self) -> Result<(), String> {
        for (key, keep) in [("source_keep", self.source_keep), ("target_keep", self.target_keep)] {
            if keep.is_some_and(|keep| keep <= self.margin) {
                return Err(format!("{key}: must be more than margin, or every snapshot is about to be deleted"));
            }
        }
        if self.target_days.is_some_and(|days| days <= self.margin as u64) {
            return Err("target_days: must be more than margin, or every snapshot is about to be deleted".to_owned());
        }
        Ok(())
    }

    fn decide(&self, request: Request) -> Result<Plan, String> {
        Ok(self.plan(&request, rsnap_plugin::now()))
    }
}

impl Retention {
    fn plan(&self, request: &Request, now: u64) -> Plan {
        if let Some(there) = request.there().filter(|there| request.same_content(&request.wanted, there)) {
            return Plan::present(format!("snapshot {} is on the target already", there.id));
        }
        if self.goes_at_source(request, &request.wanted) {
            return Plan::refused(format!(
                "the source is about to delete {} (it keeps {}), and a snapshot that is deleted while it is read turns into \
                 zeroes: send a newer one",
                request.wanted.id,
                self.source_keep.unwrap_or_default()
            ));
        }
        let stays = |(source, base): &(&SourceSnapshot, &TargetSnapshot)| {
            !self.goes_at_source(request, source) && !self.goes_at_target(request, base, now)
        };
        match (request.common().find(stays), request.common().next()) {
            (Some((_, base)), _) => Plan::incremental(&base.id, format!("{} is on both sides, and stays", base.id)),
            (None, Some((_, base))) => {
                Plan::full(format!("{} is on both sides, and one of them is about to delete it", base.id))
            }
            (None, None) => Plan::full("no earlier snapshot of the source is on the target with the same content"),
        }
    }

    fn goes_at_source(&self, request: &Request, snapshot: &SourceSnapshot) -> bool {
        let newer = request.source.iter().rev().position(|other| other.id == snapshot.id);
        self.goes(self.source_keep, newer)
    }

    fn goes_at_target(&self, request: &Request, snapshot: &TargetSnapshot, now: u64) -> bool {
        let newer = request.target.iter().rev().position(|other| other.id == snapshot.id);
        self.goes(self.target_keep, newer) || self.is_old(snapshot, now)
    }

    /// Whether a snapshot with so many `newer` ones is about to be pushed out.
    fn goes(&self, keep: Option<usize>, newer: Option<usize>) -> bool {
        matches!((keep, newer), (Some(keep), Some(newer)) if newer + self.margin >= keep)
    }

    fn is_old(&self, snapshot: &TargetSnapshot, now: u64) -> bool {
        let days = |count: u64| count.saturating_mul(MILLISECONDS_PER_DAY);
        let age = now.saturating_sub(snapshot.created);
        self.target_days.is_some_and(|kept| age.saturating_add(days(self.margin as u64)) >= days(kept))
    }
}

rsnap_plugin::export_policy!(Retention);

#[cfg(test)]
mod tests {
    use rsnap_plugin::policy::Decision;

    use super::*;

    const DAY: u64 = MILLISECONDS_PER_DAY;

    fn retention() -> Retention {
        Retention { source_keep: None, target_keep: None, target_days: None, margin: 1 }
    }

    /// Snapshots 1 to `source` at the source, of which the last is wanted; copies of those in `copied` at the target, each
    /// a day after the one before.
    fn request(source: usize, copied: &[usize]) -> Request {
        let snapshot =
            |number: usize| SourceSnapshot { id: format!("s{number}"), size: 4096, root: Some(format!("r{number}")) };
        let copy = |number: &usize| TargetSnapshot {
            id: format!("t{number}"),
            size: 4096,
            root: format!("r{number}"),
            source_snapshot: None,
            source_volume: None,
            created: *number as u64 * DAY,
            stored: 0,
            base: None,
        };
        Request {
            volume: "v".to_owned(),
            snapshot: "wanted".to_owned(),
            source_volume: None,
            wanted: snapshot(source),
            source: (1..=source).map(snapshot).collect(),
            target: copied.iter().map(copy).collect(),
        }
    }

    fn decide(retention: &Retention, request: &Request, today: u64) -> String {
        match retention.plan(request, today * DAY).decision {
            Decision::Present => "present".to_owned(),
            Decision::Full => "full".to_owned(),
            Decision::Incremental(base) => base,
            Decision::Refused => "refused".to_owned(),
        }
    }

    #[test]
    fn without_limits_it_takes_the_newest() {
        assert_eq!(decide(&retention(), &request(5, &[1, 3]), 9), "t3");
        assert_eq!(decide(&retention(), &request(5, &[]), 9), "full");
    }

    #[test]
    fn a_base_that_the_source_deletes_next_is_not_used() {
        let keeps = |count| Retention { source_keep: Some(count), ..retention() };
        assert_eq!(decide(&keeps(4), &request(5, &[2]), 9), "full", "the next snapshot pushes it out");
        assert_eq!(decide(&keeps(5), &request(5, &[2]), 9), "t2");
        assert_eq!(decide(&Retention { margin: 2, ..keeps(5) }, &request(5, &[2]), 9), "full");
    }

    #[test]
    fn a_base_that_the_target_deletes_next_is_not_used() {
        let keeps = Retention { target_keep: Some(3), ..retention() };
        assert_eq!(decide(&keeps, &request(5, &[1, 2, 3]), 9), "t3");
        let mut others = request(5, &[2, 3]);
        others.target.push(TargetSnapshot { id: "own".to_owned(), root: "x".to_owned(), ..others.target[0].clone() });
        assert_eq!(decide(&keeps, &others, 9), "t3", "one newer than it");
        others.target.push(TargetSnapshot { id: "own2".to_owned(), root: "y".to_owned(), ..others.target[0].clone() });
        assert_eq!(decide(&keeps, &others, 9), "full", "two newer than it");
        let days = Retention { target_days: Some(10), ..retention() };
        assert_eq!([11, 12].map(|today| decide(&days, &request(5, &[3]), today)), ["t3", "full"]);
    }

    #[test]
    fn what_the_source_deletes_next_is_not_read() {
        let mut old = request(7, &[1]);
        old.wanted = old.source[1].clone();
        let keeps = Retention { source_keep: Some(6), ..retention() };
        assert_eq!(decide(&keeps, &old, 9), "refused");
        old.wanted = old.source[2].clone();
        assert_eq!(decide(&keeps, &old, 9), "full");
    }

    #[test]
    fn settings_that_forbid_everything_are_refused() {
        assert!(Retention { source_keep: Some(1), ..retention() }.check().unwrap_err().starts_with("source_keep"));
        assert!(Retention { target_days: Some(1), ..retention() }.check().unwrap_err().starts_with("target_days"));
        assert!(Retention { target_keep: Some(2), ..retention() }.check().is_ok());
    }
}
