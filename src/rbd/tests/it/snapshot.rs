//! Snapshots and what changed between them.

use std::ops::ControlFlow;

use rsnap_rbd::{Kind, Mode, SnapshotReference};
use rsnap_test_ceph::Cluster as TestCluster;

use super::support::{MIB, Place, bytes, differences, write};

#[tokio::test]
async fn snapshots_keep_what_was() {
    let place = Place::new();
    let image = place.image("one", 8 * MIB);
    write(&image, 0, vec![1; 4096]).await;
    let id = image.create_snapshot("first").unwrap();
    assert_eq!(image.snapshot_id("first").unwrap(), id);
    image.resize(12 * MIB).unwrap();
    write(&image, 0, vec![2; 4096]).await;
    image.create_snapshot("second").unwrap();
    let list = image.snapshots().unwrap();
    let facts: Vec<_> = list.iter().map(|one| (&*one.name, one.size, one.protected, one.is_user)).collect();
    assert_eq!(facts, [("first", 8 * MIB, false, true), ("second", 12 * MIB, false, true)]);
    assert!(list[0].id < list[1].id);
    let first = place.at("one", "first");
    assert_eq!((first.size().unwrap(), bytes(&first, 0, 2).await), (8 * MIB, vec![1, 1]));
    let second = place.pool.open("one", Mode::ReadOnly, Some(SnapshotReference::Id(list[1].id))).unwrap();
    assert_eq!((second.size().unwrap(), bytes(&second, 0, 2).await), (12 * MIB, vec![2, 2]));

    image.rollback("first").unwrap();
    assert_eq!((image.size().unwrap(), bytes(&image, 0, 1).await), (8 * MIB, vec![1]));
    assert_eq!(image.create_snapshot("first").unwrap_err().kind(), Kind::Exists);
    image.rename_snapshot("second", "third").unwrap();
    assert_eq!(image.snapshots().unwrap()[1].name, "third");
    assert_eq!(image.snapshots().unwrap()[1].id, list[1].id);
    image.remove_snapshot("third").unwrap();
    assert_eq!(image.remove_snapshot("third").unwrap_err().kind(), Kind::NotFound);
    let gone = place.pool.open("one", Mode::ReadOnly, Some(SnapshotReference::Id(list[1].id))).unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_long_list_of_snapshots_is_whole() {
    let place = Place::new();
    let image = place.image("one", MIB);
    for number in 0..70 {
        image.create_snapshot(&format!("snapshot-{number}")).unwrap();
    }
    let names: Vec<String> = image.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(names, (0..70).map(|number| format!("snapshot-{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_protected_snapshot_stays() {
    let place = Place::new();
    let image = place.image("one", MIB);
    image.create_snapshot("first").unwrap();
    image.protect("first").unwrap();
    assert!(image.snapshots().unwrap()[0].protected);
    assert_eq!(image.protect("first").unwrap_err().kind(), Kind::Busy);
    assert_eq!(image.remove_snapshot("first").unwrap_err().kind(), Kind::Busy);
    image.unprotect("first").unwrap();
    image.remove_snapshot("first").unwrap();
    assert!(image.snapshots().unwrap().is_empty());
}

#[test]
fn the_limit_of_snapshots_is_known() {
    let place = Place::new();
    let image = place.image("one", MIB);
    assert_eq!(image.snapshot_limit().unwrap(), None);
    TestCluster::shared().rbd(&["snap", "limit", "set", "--limit", "1", &place.path("one")]).unwrap();
    assert_eq!(image.snapshot_limit().unwrap(), Some(1));
    image.create_snapshot("first").unwrap();
    assert_eq!(image.create_snapshot("second").unwrap_err().kind(), Kind::Full);
}

#[tokio::test]
async fn differences_are_exact_or_of_whole_objects() {
    let place = Place::new();
    let image = place.image("one", 32 * MIB);
    write(&image, 0, vec![1; 8 << 20]).await;
    image.create_snapshot("first").unwrap();
    write(&image, 100, vec![2; 50]).await;
    write(&image, 20 * MIB + 4096, vec![3; 4096]).await;
    image.write_zeroes(4 * MIB, 4 * MIB).await.unwrap();
    image.create_snapshot("second").unwrap();
    let second = place.at("one", "second");
    let exact = differences(&second, Some("first"), false);
    assert!(exact.contains(&(100, 50, true)), "{exact:?}");
    assert!(exact.contains(&(4 * MIB, 4 * MIB, false)), "{exact:?}");
    assert!(exact.iter().any(|one| one.2 && (one.0..one.0 + one.1).contains(&(20 * MIB + 5000))), "{exact:?}");
    let whole = differences(&second, Some("first"), true);
    assert_eq!(whole, [(0, 4 * MIB, true), (4 * MIB, 4 * MIB, false), (20 * MIB, 4 * MIB, true)]);
    assert_eq!(differences(&second, Some("second"), true), []);
    let error = second.differences(Some("other"), true, 0, MIB, |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("since other"), "{error}");
}

#[tokio::test]
async fn an_empty_range_has_no_differences() {
    let place = Place::new();
    let image = place.image("one", 8 * MIB);
    image.create_snapshot("full").unwrap();
    image.resize(0).unwrap();
    image.create_snapshot("empty").unwrap();
    for whole_objects in [false, true] {
        assert_eq!(differences(&image, None, whole_objects), []);
        assert_eq!(differences(&image, Some("full"), whole_objects), []);
        for (offset, length) in [(0, 0), (0, MIB), (MIB, MIB)] {
            image.differences(Some("empty"), whole_objects, offset, length, |_| panic!("there is nothing")).unwrap();
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_removed_by_its_number() {
    let place = Place::new();
    let image = place.image("one", MIB);
    image.create_snapshot("first").unwrap();
    let id = image.snapshots().unwrap()[0].id;
    image.remove_snapshot_by_id(id).unwrap();
    image.create_snapshot("first").unwrap();
    assert_eq!(image.remove_snapshot_by_id(id).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(image.snapshots().unwrap().len(), 1);
}

#[tokio::test]
async fn an_iteration_can_be_broken_off() {
    let place = Place::new();
    let image = place.image("one", 32 * MIB);
    for number in 0..8 {
        write(&image, number * 4 * MIB, vec![1; 4096]).await;
    }
    for whole_objects in [false, true] {
        let mut seen = 0;
        let count = |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        image.differences(None, whole_objects, 0, 32 * MIB, count).unwrap();
        assert_eq!(seen, 2);
    }
}

#[tokio::test]
async fn a_panic_does_not_pass_through_the_library() {
    let place = Place::new();
    let image = place.image("one", 32 * MIB);
    write(&image, 0, vec![1; 4096]).await;
    write(&image, 8 * MIB, vec![1; 4096]).await;
    for whole_objects in [false, true] {
        let work = std::panic::AssertUnwindSafe(|| {
            image.differences(None, whole_objects, 0, 32 * MIB, |_| panic!("in the callback"))
        });
        let panic = std::panic::catch_unwind(work).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the callback"));
    }
    assert_eq!(bytes(&image, 0, 1).await, [1], "the image cannot be used any more");
}

#[tokio::test]
async fn an_image_open_for_reading_does_not_see_that_its_snapshot_is_gone() {
    let place = Place::new();
    let image = place.image("one", MIB);
    write(&image, 0, vec![1; 4096]).await;
    let id = image.create_snapshot("first").unwrap();
    let reader = place.at("one", "first");
    image.remove_snapshot("first").unwrap();
    image.create_snapshot("first").unwrap();
    assert_eq!(
        reader.snapshot_id("first").unwrap(),
        id,
        "it was told of it; this test tells why nobody relies on that"
    );
    let again = place.pool.open("one", Mode::ReadOnly, None).unwrap();
    assert_ne!(again.snapshot_id("first").unwrap(), id);
}

/// The map of release 16 forgets what a smaller snapshot in between has cut off.
#[tokio::test]
async fn what_was_cut_off_and_did_not_come_back_is_a_difference() {
    let place = Place::new();
    let image = place.image("one", 40 * MIB);
    write(&image, 32 * MIB, vec![1; 4096]).await;
    image.create_snapshot("first").unwrap();
    assert!(place.at("one", "first").has_change_map(None).unwrap());
    image.resize(20 * MIB).unwrap();
    image.create_snapshot("second").unwrap();
    image.resize(40 * MIB).unwrap();
    image.create_snapshot("third").unwrap();
    let third = place.at("one", "third");
    assert!(!third.has_change_map(Some("first")).unwrap() && third.has_change_map(None).unwrap());
    for whole_objects in [false, true] {
        let reported = differences(&third, Some("first"), whole_objects);
        let gone = |one: &(u64, u64, bool)| !one.2 && (one.0..one.0 + one.1).contains(&(32 * MIB));
        assert!(reported.iter().any(gone), "{whole_objects}: {reported:?}");
    }
    image.remove_snapshot("second").unwrap();
    let third = place.at("one", "third");
    assert!(third.has_change_map(Some("first")).unwrap());
    assert_eq!(differences(&third, Some("first"), true), [(32 * MIB, 4 * MIB, false)]);
}
