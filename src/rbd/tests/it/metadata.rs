//! Texts on an image.

use super::support::{MIB, Place};

#[test]
fn texts_are_kept_by_key() {
    let place = Place::new();
    let image = place.image("one", MIB);
    assert_eq!(image.metadata("rsnap.owner").unwrap(), None);
    image.set_metadata("rsnap.owner", "volume").unwrap();
    image.set_metadata("rsnap.owner", "another").unwrap();
    assert_eq!(image.metadata("rsnap.owner").unwrap().as_deref(), Some("another"));
    let long = "x".repeat(1 << 20);
    image.set_metadata("rsnap.long", &long).unwrap();
    assert_eq!(image.metadata("rsnap.long").unwrap().as_deref(), Some(&*long));
    image.set_metadata("rsnap.empty", "").unwrap();
    assert_eq!(image.metadata("rsnap.empty").unwrap().as_deref(), Some(""));
    image.remove_metadata("rsnap.owner").unwrap();
    image.remove_metadata("rsnap.owner").unwrap();
    assert_eq!(image.metadata("rsnap.owner").unwrap(), None);
    assert!(image.set_metadata("rsnap.zero", "a\0b").is_err());
}

#[test]
fn keys_are_listed_by_their_beginning() {
    let place = Place::new();
    let image = place.image("one", MIB);
    let key = |number: usize| format!("rsnap.snapshot.{number:03}");
    for number in 0..150 {
        image.set_metadata(&key(number), &"v".repeat(number * 40)).unwrap();
    }
    for other in ["a", "rsnap.owner", "rsnap.snapshots", "z"] {
        image.set_metadata(other, "").unwrap();
    }
    let listed = image.all_metadata("rsnap.snapshot.").unwrap();
    let expected: Vec<_> = (0..150).map(|number| (key(number), "v".repeat(number * 40))).collect();
    assert!(listed == expected, "{:?}", listed.iter().map(|(key, _)| key).collect::<Vec<_>>());
    assert_eq!(image.all_metadata("").unwrap().len(), 154);
    assert_eq!(image.all_metadata("nothing").unwrap(), []);
}

#[tokio::test]
async fn notes_are_texts_like_others_and_need_no_lock() {
    let place = Place::new();
    let image = place.image("one", MIB);
    image.acquire_lock().unwrap();
    let other = place.other();
    let theirs = other.pool.open("one", rsnap_rbd::Mode::ReadWrite, None).unwrap();
    theirs.note_metadata("rsnap.one", "first").await.unwrap();
    theirs.note_metadata("rsnap.two", &"x".repeat(100_000)).await.unwrap();
    theirs.note_metadata("rsnap.one", "second").await.unwrap();
    assert_eq!(image.metadata("rsnap.one").unwrap().as_deref(), Some("second"));
    assert_eq!(image.all_metadata("rsnap.").unwrap().len(), 2);
    theirs.unnote_metadata("rsnap.one").await.unwrap();
    theirs.unnote_metadata("rsnap.one").await.unwrap();
    assert_eq!(image.metadata("rsnap.one").unwrap(), None);
    assert!(image.is_lock_owner().unwrap());
}
