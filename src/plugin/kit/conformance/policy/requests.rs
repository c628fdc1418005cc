//! Requests that a policy may meet, from the plainest to the strangest.

use crate::plugin::{PolicyRequest, SourceSnapshot, TargetSnapshot};

const SIZE: u64 = 1 << 30;

/// A request, and what is wanted in it.
pub(in crate::plugin::kit) struct Case {
    pub(super) about: &'static str,
    pub(in crate::plugin::kit) request: PolicyRequest,
}

impl Case {
    /// Whether a policy that quotes an id of the source quotes control characters. The host escapes them.
    pub(super) fn has_control_characters(&self) -> bool {
        self.request.source.iter().any(|snapshot| snapshot.id.chars().any(char::is_control))
    }
}

fn source(id: &str, root: &str) -> SourceSnapshot {
    SourceSnapshot { id: id.to_owned(), size: SIZE, root: Some(root.to_owned()) }
}

fn unknown(id: &str) -> SourceSnapshot {
    SourceSnapshot { root: None, ..source(id, "") }
}

/// A copy of the source's snapshot `of`. The ids are ours, so they parse.
fn copy(id: &str, root: &str, of: &str) -> Option<TargetSnapshot> {
    Some(TargetSnapshot {
        id: id.parse().ok()?,
        size: SIZE,
        root: root.to_owned(),
        source_snapshot: Some(of.to_owned()),
        source_volume: Some("their-volume".to_owned()),
        created: 1_790_000_000_000,
        stored: 1 << 20,
        base: None,
    })
}

/// The last snapshot of `source` is wanted.
fn case(about: &'static str, source: Vec<SourceSnapshot>, target: Vec<Option<TargetSnapshot>>) -> Option<Case> {
    let request = PolicyRequest {
        volume: "my-volume".parse().ok()?,
        snapshot: "wanted".parse().ok()?,
        source_volume: Some("their-volume".to_owned()),
        wanted: source.last()?.clone(),
        source,
        target: target.into_iter().flatten().collect(),
    };
    Some(Case { about, request })
}

fn three() -> Vec<SourceSnapshot> {
    vec![source("s1", "r1"), source("s2", "r2"), source("s3", "r3")]
}

/// All of them, the same each time.
pub(super) fn all() -> Vec<Case> {
    let plain = [
        case("the first snapshot ever", vec![source("s1", "r1")], vec![]),
        case("the third snapshot on an empty target", three(), vec![]),
        case("a snapshot after a common one", three(), vec![copy("t1", "r1", "s1")]),
        case("a snapshot after two common ones", three(), vec![copy("t1", "r1", "s1"), copy("t2", "r2", "s2")]),
        case(
            "a snapshot whose predecessor has other content on the target",
            three(),
            vec![copy("t1", "r1", "s1"), copy("t2", "changed", "s2")],
        ),
        case(
            "a snapshot under which the target has its own",
            three(),
            vec![copy("t1", "r1", "s1"), copy("t9", "own", "x")],
        ),
        case("a snapshot that has nothing in common with the target", three(), vec![copy("t9", "r9", "s1")]),
        case(
            "a snapshot of whose predecessor there are two copies",
            three(),
            vec![copy("t2", "r2", "s2"), copy("t2b", "r2", "s2")],
        ),
        case("a snapshot that the sender names alone", vec![source("s3", "r3")], vec![copy("t2", "r2", "s2")]),
    ];
    let there = [
        case("a snapshot that is there", three(), vec![copy("t2", "r2", "s2"), copy("wanted", "r3", "s3")]),
        case("a snapshot that is there with other content", three(), vec![copy("wanted", "changed", "s3")]),
        case("a snapshot that is there, of unknown content", vec![unknown("s3")], vec![copy("wanted", "r3", "s3")]),
        case("a snapshot under whose id another one is there", vec![unknown("s3")], vec![copy("wanted", "r9", "s9")]),
    ];
    let names = [
        case("a snapshot by names alone", vec![unknown("s1"), unknown("s2")], vec![copy("t1", "r1", "s1")]),
        in_the_middle(),
        of_another_volume(),
        of_another_size(),
        with_strange_names(),
        at_the_limits(),
    ];
    plain.into_iter().chain(there).chain(names).flatten().collect()
}

fn in_the_middle() -> Option<Case> {
    let target = vec![copy("t1", "r1", "s1"), copy("t3", "r3", "s3")];
    let mut case = case("a snapshot in the middle of the source's chain", three(), target)?;
    case.request.wanted = case.request.source.get(1)?.clone();
    Some(case)
}

fn of_another_volume() -> Option<Case> {
    let chain = vec![unknown("s1"), unknown("s2")];
    let mut case = case("a snapshot by names alone, of another volume", chain, vec![copy("t1", "r1", "s1")])?;
    case.request.source_volume = Some("another-volume".to_owned());
    Some(case)
}

fn of_another_size() -> Option<Case> {
    let chain = vec![SourceSnapshot { size: SIZE / 2, ..unknown("s1") }, unknown("s2")];
    case("a snapshot by names alone, after one of another size", chain, vec![copy("t1", "r1", "s1")])
}

/// The ids of the source are whatever the source calls its snapshots.
fn with_strange_names() -> Option<Case> {
    let strange = "größe \"1\" \\ \u{1F4BE}\n\t{}\u{0} ";
    let long = "x".repeat(1000);
    let chain = vec![source("", "r1"), source(strange, "r2"), source(&long, "r3")];
    case("a snapshot among strange names", chain, vec![copy("t2", "r2", strange)])
}

fn at_the_limits() -> Option<Case> {
    let sized = |id: &str, size| SourceSnapshot { size, ..source(id, id) };
    let chain = vec![sized("none", 0), sized("all", u64::MAX)];
    let mut case = case("a snapshot of the largest size", chain, vec![copy("t1", "none", "none")])?;
    for target in &mut case.request.target {
        (target.size, target.created, target.stored) = (0, u64::MAX, u64::MAX);
    }
    Some(case)
}

/// Two chains of so many snapshots, with only the oldest in common.
pub(in crate::plugin::kit) fn long(length: usize) -> Option<Case> {
    let chain = (0..=length).map(|number| source(&format!("s{number}"), &format!("root-{number}"))).collect();
    let own = |number| if number == 0 { "root-0".to_owned() } else { format!("own-{number}") };
    let target = (0..length).map(|number| copy(&format!("t{number}"), &own(number), &format!("s{number}")));
    case("the last of many snapshots", chain, target.collect())
}
