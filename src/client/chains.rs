//! The chains of a volume at two sites, side by side: what both have, what one has, and what would be sent.
//!
//! Ids differ between the sites, so a copy is known by what it says of its source: snapshots that are copies of one
//! another, or of the same third one, are the same snapshot; where none of them says anything, those of equal content are.
//! A name alone proves nothing: the same snapshot with another content is told as changed.

use serde::Serialize;

use super::{ClientError, Gateway};
use crate::api::{Action, ChainAnswer, PlanAnswer, PlanRequest, SnapshotAnswer, SourceSnapshot};
use crate::id::{SnapshotId, VolumeId};

/// How the two sites stand to one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Both have it, with the same content.
    Common,
    /// Both have it, and the contents differ.
    Changed,
    /// Only this site has it.
    Here,
    /// Only the other site has it.
    There,
}

/// One snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub relation: Relation,
    /// Its id at this site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
    /// Its id at the other site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<String>,
    /// Bytes.
    pub size: u64,
    /// What the policy of the other site would do for one that is only here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanAnswer>,
}

/// Both chains: first what is here, in its order, then what is only there.
#[derive(Debug, Clone, Serialize)]
pub struct Chains {
    pub volume: String,
    pub other_volume: String,
    pub snapshots: Vec<Row>,
}

/// Asks both gateways, and the other one's policy about each snapshot that is only here.
pub async fn compare(here: (&Gateway, &VolumeId), there: (&Gateway, &VolumeId)) -> Result<Chains, ClientError> {
    let (own, other) = (here.0.chain(here.1).await?, there.0.chain(there.1).await?);
    let mut snapshots = rows(&own, &other);
    for row in snapshots.iter_mut().filter(|row| row.relation == Relation::Here) {
        let Some(Ok(snapshot)) = row.here.as_deref().map(str::parse::<SnapshotId>) else { continue };
        let request = question(&own, snapshot.as_str());
        row.plan = Some(there.0.plan(there.1, &snapshot, &request).await?);
    }
    Ok(Chains { volume: own.volume, other_volume: other.volume, snapshots })
}

/// The chain up to `wanted`, as a sender tells it.
fn question(own: &ChainAnswer, wanted: &str) -> PlanRequest {
    let end = own.snapshots.iter().position(|one| one.snapshot == wanted).map_or(0, |at| at + 1);
    let told = |one: &SnapshotAnswer| SourceSnapshot {
        id: one.snapshot.clone(),
        size: one.size,
        root: Some(one.root.clone()),
        mark: None,
    };
    let chain = own.snapshots.iter().take(end).map(told).collect();
    PlanRequest { source_volume: Some(own.volume.clone()), wanted: wanted.to_owned(), chain, rebase: false }
}

fn rows(own: &ChainAnswer, other: &ChainAnswer) -> Vec<Row> {
    let mut left: Vec<&SnapshotAnswer> = other.snapshots.iter().collect();
    let mut pairs: Vec<(&SnapshotAnswer, Option<&SnapshotAnswer>)> = Vec::new();
    for one in &own.snapshots {
        pairs.push((one, take(&mut left, |there| is_same(one, there))));
    }
    for (one, there) in pairs.iter_mut().filter(|(_, there)| there.is_none()) {
        *there = take(&mut left, |there| there.root == one.root && there.size == one.size);
    }
    let both = pairs.into_iter().map(|(one, there)| {
        let relation = match there {
            None => Relation::Here,
            Some(there) if there.root == one.root && there.size == one.size => Relation::Common,
            Some(_) => Relation::Changed,
        };
        let there = there.map(|there| there.snapshot.clone());
        Row { relation, here: Some(one.snapshot.clone()), there, size: one.size, plan: None }
    });
    let only = |there: &SnapshotAnswer| {
        let id = Some(there.snapshot.clone());
        Row { relation: Relation::There, here: None, there: id, size: there.size, plan: None }
    };
    both.chain(left.iter().map(|there| only(there))).collect()
}

fn take<'a>(
    left: &mut Vec<&'a SnapshotAnswer>,
    wanted: impl Fn(&SnapshotAnswer) -> bool,
) -> Option<&'a SnapshotAnswer> {
    let at = left.iter().position(|one| wanted(one))?;
    Some(left.remove(at))
}

/// Whether one is a copy of the other, or both are of the same third one.
fn is_same(one: &SnapshotAnswer, other: &SnapshotAnswer) -> bool {
    let is_copy = |copy: &SnapshotAnswer, of: &SnapshotAnswer| {
        let volume = copy.source_volume.as_ref().is_none_or(|volume| *volume == of.volume);
        volume && copy.source_snapshot.as_ref() == Some(&of.snapshot)
    };
    let same_source = one.source_snapshot.is_some()
        && (&one.source_volume, &one.source_snapshot) == (&other.source_volume, &other.source_snapshot);
    same_source || is_copy(one, other) || is_copy(other, one)
}

impl std::fmt::Display for Relation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Common => "common",
            Self::Changed => "changed",
            Self::Here => "only here",
            Self::There => "only there",
        })
    }
}

impl Row {
    /// What would be done, with the reason.
    #[must_use]
    pub fn would(&self) -> String {
        match (&self.plan, self.relation) {
            (Some(plan), _) => {
                let base = plan.base.as_ref().map(|base| format!(" since {}", base.snapshot)).unwrap_or_default();
                let action = match plan.action {
                    Action::Present => "nothing",
                    Action::Full => "full",
                    Action::Incremental => "incremental",
                    Action::Rebase => "rebase",
                    Action::Refused => "refused",
                };
                format!("{action}{base}: {}", plan.reason)
            }
            (None, Relation::Changed) => "refused: the content there is another".to_owned(),
            (None, _) => "nothing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(volume: &str, id: &str, root: &str, of: Option<(&str, &str)>) -> SnapshotAnswer {
        let text = |text: &str| text.to_owned();
        SnapshotAnswer {
            volume: text(volume),
            snapshot: text(id),
            size: 4096,
            root: text(root),
            base: None,
            source_volume: of.map(|of| text(of.0)),
            source_snapshot: of.map(|of| text(of.1)),
            source_mark: None,
            created: text("2026-01-01T00:00:00Z"),
            stored: 0,
        }
    }

    fn chain(snapshots: Vec<SnapshotAnswer>) -> ChainAnswer {
        ChainAnswer { volume: snapshots[0].volume.clone(), snapshots, damaged: Vec::new() }
    }

    fn told(own: Vec<SnapshotAnswer>, other: Vec<SnapshotAnswer>) -> Vec<String> {
        let or_dash = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
        let rows = rows(&chain(own), &chain(other));
        rows.iter().map(|row| format!("{} {} {}", row.relation, or_dash(&row.here), or_dash(&row.there))).collect()
    }

    #[test]
    fn copies_are_known_by_their_source_and_told_by_their_content() {
        let own = vec![one("v", "s1", "r1", None), one("v", "s2", "r2", None), one("v", "s3", "r3", None)];
        let other = vec![
            one("w", "t1", "r1", Some(("v", "s1"))),
            one("w", "t2", "damaged", Some(("v", "s2"))),
            one("w", "t9", "r9", Some(("v", "gone"))),
        ];
        let expected = ["common s1 t1", "changed s2 t2", "only here s3 -", "only there - t9"];
        assert_eq!(told(own.clone(), other.clone()), expected);
        let back = ["common t1 s1", "changed t2 s2", "only here t9 -", "only there - s3"];
        assert_eq!(told(other, own), back, "seen from the other site");
    }

    #[test]
    fn two_copies_of_a_third_are_the_same_and_strangers_go_by_content() {
        let own = vec![one("v", "a", "r1", Some(("x", "s1"))), one("v", "b", "r2", None)];
        let other = vec![one("w", "c", "r2", None), one("w", "d", "r1", Some(("x", "s1"))), one("w", "b", "r3", None)];
        assert_eq!(told(own, other), ["common a d", "common b c", "only there - b"]);
    }

    #[test]
    fn a_volume_of_the_same_snapshot_names_is_another() {
        let own = vec![one("v", "s1", "r1", None)];
        let other = vec![one("w", "t1", "r2", Some(("another", "s1")))];
        assert_eq!(told(own, other), ["only here s1 -", "only there - t1"]);
    }

    #[test]
    fn the_policy_is_told_the_chain_up_to_the_wanted_one() {
        let own = chain(vec![one("v", "s1", "r1", None), one("v", "s2", "r2", None), one("v", "s3", "r3", None)]);
        let request = question(&own, "s2");
        let ids: Vec<_> = request.chain.iter().map(|one| one.id.as_str()).collect();
        assert_eq!((request.wanted.as_str(), ids), ("s2", vec!["s1", "s2"]));
    }
}
