//! What follows from records and snapshots, case by case.

use rsnap_rbd::Snapshot;

use crate::content::{Hash, Root};
use crate::image::cases::id;
use crate::image::rbd::catalog::{Catalog, Named};
use crate::image::rbd::record::{
    GENERATION, Generation, INTENT, Intent, Layer, OWNER, Owner, Stored, deleted_key, layer_key, snapshot_key,
};
use crate::image::rbd::recovery::{Recovery, decide};
use crate::image::record::{Body, Tombstone, seal};
use crate::image::{Identity, SnapshotRecord};

const IMAGE: &str = "abc123";

fn layer(number: usize, parent: Option<usize>) -> Layer {
    let record = SnapshotRecord {
        volume: "v1".parse().unwrap(),
        snapshot: id(number),
        name: format!("snapshot-{number}").parse().unwrap(),
        size: 1000,
        root: Root::new(1000, Hash([7; 32])),
        identity: Identity::default(),
        base: parent.map(id),
        created_ms: 1,
        stored: 2,
    };
    Layer {
        record,
        name: format!("layer-{number}"),
        parent: parent.map(|parent| format!("layer-{parent}")),
        tree: format!("tree-{number}"),
        tree_bytes: 10,
        pages: 1,
        limit: 1000,
        sequence: number as u64,
    }
}

fn stored(number: usize, parent: Option<usize>) -> Stored {
    Stored { image: IMAGE.to_owned(), snapshot: 100 + number as u64, layer: layer(number, parent) }
}

fn there(id: u64, name: &str) -> Snapshot {
    Snapshot { id, name: name.to_owned(), size: 1000, protected: false, is_user: true }
}

fn entry<T: Body>(key: &str, body: &T) -> (String, String) {
    (key.to_owned(), String::from_utf8(seal(body).unwrap()).unwrap())
}

fn visible(stored: &Stored) -> (String, String) {
    entry(&snapshot_key(&stored.layer.record.name), stored)
}

fn hidden(stored: &Stored) -> (String, String) {
    entry(&layer_key(&stored.layer.name), stored)
}

fn snapshots(numbers: &[usize]) -> Vec<Snapshot> {
    numbers.iter().map(|number| there(100 + *number as u64, &format!("snapshot-{number}"))).collect()
}

fn names(catalog: &Catalog) -> (Vec<String>, Vec<String>) {
    let chain = catalog.chain();
    let whole = chain.snapshots.iter().map(|record| record.snapshot.to_string()).collect();
    (whole, chain.damaged.iter().map(ToString::to_string).collect())
}

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_snapshot_is_visible_with_its_record_and_its_id() {
    let records = [visible(&stored(1, None)), visible(&stored(2, Some(1)))];
    let catalog = Catalog::new(IMAGE, &records, snapshots(&[1, 2]));
    assert_eq!(names(&catalog), (text(&["s1", "s2"]), vec![]));
    assert!(catalog.is_settled());
    // The second was removed, renamed, or made again.
    for second in [None, Some(there(102, "other")), Some(there(177, "snapshot-2"))] {
        let now = snapshots(&[1]).into_iter().chain(second).collect();
        let catalog = Catalog::new(IMAGE, &records, now);
        assert_eq!(names(&catalog), (text(&["s1"]), text(&["snapshot-2"])));
        assert!(!catalog.is_settled());
    }
    // Of the first one only the pages are needed.
    let catalog = Catalog::new(IMAGE, &records, snapshots(&[2]));
    assert_eq!(names(&catalog), (text(&["s2"]), text(&["snapshot-1"])));
}

#[test]
fn a_snapshot_without_a_record_is_not_ours() {
    let catalog = Catalog::new(IMAGE, &[visible(&stored(1, None))], snapshots(&[1, 2]));
    assert_eq!(names(&catalog), (text(&["s1"]), vec![]));
    let named = |number: usize| catalog.named(&format!("snapshot-{number}").parse().unwrap());
    assert_eq!((named(1), named(2), named(3)), (Named::Ours, Named::Foreign, Named::Nothing));
}

#[test]
fn a_torn_record_is_damage_and_may_be_replaced() {
    let (key, value) = visible(&stored(1, None));
    let torn = value[..value.len() - 7].to_owned();
    let catalog = Catalog::new(IMAGE, &[(key.clone(), torn)], snapshots(&[1]));
    assert_eq!(names(&catalog), (vec![], text(&["snapshot-1"])));
    assert_eq!(catalog.unreadable, [key]);
    assert_eq!(catalog.named(&"snapshot-1".parse().unwrap()), Named::Unreadable);
}

#[test]
fn metadata_that_came_with_a_copy_of_another_image_is_not_believed() {
    let records = [visible(&stored(1, None)), entry(INTENT, &intent(Some(102)))];
    let catalog = Catalog::new("another", &records, snapshots(&[1, 2]));
    assert_eq!(names(&catalog), (vec![], text(&["snapshot-1"])));
    assert_eq!(catalog.intent, None);
}

#[test]
fn a_layer_that_is_missing_damages_those_above_it() {
    let records = [visible(&stored(2, Some(1))), visible(&stored(3, Some(2))), visible(&stored(4, None))];
    let catalog = Catalog::new(IMAGE, &records, snapshots(&[2, 3, 4]));
    assert_eq!(names(&catalog), (text(&["s4"]), text(&["snapshot-2", "snapshot-3"])));
    assert!(catalog.line("layer-3").is_none() && catalog.line("layer-4").is_some());
    // Deleted is not missing.
    let records: Vec<_> = records.into_iter().chain([hidden(&stored(1, None))]).collect();
    let catalog = Catalog::new(IMAGE, &records, snapshots(&[2, 3, 4]));
    assert_eq!(names(&catalog), (text(&["s2", "s3", "s4"]), vec![]));
    assert_eq!(catalog.line("layer-3").unwrap().len(), 3);
    // A circle is not complete.
    let records = [visible(&stored(1, Some(2))), visible(&stored(2, Some(1)))];
    let catalog = Catalog::new(IMAGE, &records, snapshots(&[1, 2]));
    assert_eq!(names(&catalog).0, text(&[]));
}

#[test]
fn a_delete_counts_from_its_tombstone_on() {
    let one = stored(1, None);
    // Of an earlier snapshot with that id.
    let another = entry(&deleted_key(&id(1)), &Tombstone::now(&id(1)).of_layer("layer-0"));
    let catalog = Catalog::new(IMAGE, &[another.clone(), visible(&one)], snapshots(&[1]));
    assert_eq!(names(&catalog), (text(&["s1"]), vec![]));
    assert_eq!(catalog.misplaced, []);
    let tombstone = entry(&deleted_key(&id(1)), &Tombstone::now(&id(1)).of_layer("layer-1"));
    for records in [vec![tombstone, visible(&one)], vec![another, hidden(&one), visible(&one)]] {
        for at_ceph in [snapshots(&[1]), vec![]] {
            let catalog = Catalog::new(IMAGE, &records, at_ceph);
            assert_eq!(names(&catalog), (vec![], vec![]));
            assert_eq!(catalog.misplaced, std::slice::from_ref(&one));
            assert!(catalog.is_settled());
        }
    }
}

#[test]
fn the_owner_is_known_by_its_record_or_by_the_snapshots() {
    let owner = entry(OWNER, &Owner { volume: "v9".parse().unwrap() });
    assert_eq!(Catalog::new(IMAGE, &[], vec![]).owner(), None);
    assert_eq!(Catalog::new(IMAGE, &[owner], vec![]).owner().unwrap().as_str(), "v9");
    assert_eq!(Catalog::new(IMAGE, &[visible(&stored(1, None))], vec![]).owner().unwrap().as_str(), "v1");
}

#[test]
fn trees_and_snapshots_that_nothing_names_are_found() {
    let trees = text(&["tree-1", "tree-2", "tree-5", "tree-6"]);
    let generation = entry(GENERATION, &Generation { number: 9, trees });
    let records = [generation.clone(), visible(&stored(1, None)), hidden(&stored(5, None))];
    let now =
        [there(101, "snapshot-1"), there(105, "rsnap.deleted.5"), there(106, "rsnap.replaced.6"), there(107, "mine")];
    let catalog = Catalog::new(IMAGE, &records, now.to_vec());
    assert_eq!(catalog.generation.number, 9);
    assert_eq!(catalog.abandoned_trees(), ["tree-2", "tree-6"]);
    assert_eq!(catalog.abandoned_snapshots().collect::<Vec<_>>(), [106]);
    // What a commit is about is not abandoned.
    let catalog = Catalog::new(IMAGE, &[generation, entry(INTENT, &intent(None))], now.to_vec());
    assert_eq!(catalog.abandoned_trees(), ["tree-1", "tree-5", "tree-6"]);
    assert_eq!(catalog.abandoned_snapshots().count(), 0);
}

fn intent(snapshot: Option<u64>) -> Intent {
    Intent { image: IMAGE.to_owned(), temporary: "rsnap.layer-2".to_owned(), snapshot, layer: layer(2, Some(1)) }
}

/// The records and snapshots of a commit, after each of its steps.
fn cut_after(step: usize) -> Catalog {
    let mut records = vec![visible(&stored(1, None))];
    let mut now = snapshots(&[1]);
    records.extend((1..7).contains(&step).then(|| entry(INTENT, &intent((step >= 3).then_some(102)))));
    match step {
        2 | 3 => now.push(there(102, "rsnap.layer-2")),
        4.. => now.push(there(102, "snapshot-2")),
        _ => {}
    }
    records.extend((step >= 5).then(|| visible(&stored(2, Some(1)))));
    Catalog::new(IMAGE, &records, now)
}

#[test]
fn a_commit_that_was_cut_short_is_whole_or_not_there() {
    for step in 0..=7 {
        let catalog = cut_after(step);
        let expected = if step >= 4 { text(&["s1", "s2"]) } else { text(&["s1"]) };
        assert_eq!(names(&catalog), (expected, vec![]), "step {step}");
        match (step, decide(&catalog)) {
            (0 | 7, Recovery::Nothing) | (1, Recovery::Forget(None)) | (2 | 3, Recovery::Forget(Some(102))) => {}
            (4..=6, Recovery::Finish(finished)) => assert_eq!(*finished, stored(2, Some(1))),
            (step, other) => panic!("step {step}: {other:?}"),
        }
    }
}

#[test]
fn a_snapshot_that_somebody_else_gave_that_name_is_not_taken_for_the_committed_one() {
    for noted in [None, Some(102)] {
        let records = [visible(&stored(1, None)), entry(INTENT, &intent(noted))];
        let now = [there(101, "snapshot-1"), there(150, "snapshot-2")].to_vec();
        let catalog = Catalog::new(IMAGE, &records, now);
        assert_eq!(names(&catalog), (text(&["s1"]), vec![]));
        assert_eq!(decide(&catalog), Recovery::Forget(None));
        assert_eq!(catalog.named(&"snapshot-2".parse().unwrap()), Named::Foreign);
    }
}

#[test]
fn what_was_committed_and_removed_again_is_forgotten() {
    let records = [visible(&stored(1, None)), entry(INTENT, &intent(Some(102)))];
    assert_eq!(decide(&Catalog::new(IMAGE, &records, snapshots(&[1]))), Recovery::Forget(None));
}
