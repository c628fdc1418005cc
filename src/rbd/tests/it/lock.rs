//! The exclusive lock and the blocklist.

use rsnap_rbd::{Kind, Mode};

use super::support::{MIB, Place, bytes};

#[tokio::test]
async fn one_client_has_the_lock() {
    let place = Place::new();
    let image = place.image("one", MIB);
    assert_eq!((image.lock_owners().unwrap(), image.lockers().unwrap()), (vec![], vec![]));
    image.acquire_lock().unwrap();
    assert!(image.is_lock_owner().unwrap());
    let second = place.other();
    let other = second.pool.open("one", Mode::ReadWrite, None).unwrap();
    assert!(!other.is_lock_owner().unwrap());
    assert_eq!(other.acquire_lock().unwrap_err().kind(), Kind::ReadOnly);
    let error = other.write(0, vec![1; 4096], 0..4096).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ReadOnly, "{error}");
    let owners = other.lock_owners().unwrap();
    let lockers = other.lockers().unwrap();
    assert_eq!((owners.len(), lockers.len()), (1, 1));
    assert_eq!(owners[0], lockers[0].address);
    assert!(place.cluster.addresses().unwrap().contains(&owners[0]), "{owners:?}");
    image.release_lock().unwrap();
    other.acquire_lock().unwrap();
    assert!(other.is_lock_owner().unwrap());
}

#[tokio::test]
async fn a_lock_that_is_broken_cuts_its_owner_off() {
    let place = Place::new();
    let image = place.image("one", MIB);
    image.acquire_lock().unwrap();
    image.write(0, vec![1; 4096], 0..4096).await.unwrap();
    let second = place.other();
    let other = second.pool.open("one", Mode::ReadWrite, None).unwrap();
    let owner = other.lock_owners().unwrap().remove(0);
    other.break_lock(&owner).unwrap();
    other.acquire_lock().unwrap();
    let error = image.write(0, vec![2; 4096], 0..4096).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Blocklisted, "{error}");
    assert_eq!(image.create_snapshot("late").unwrap_err().kind(), Kind::Blocklisted);
    assert_eq!(image.set_metadata("late", "1").unwrap_err().kind(), Kind::Blocklisted);
    assert_eq!(place.pool.write_full("late", vec![1]).await.unwrap_err().kind(), Kind::Blocklisted);
    assert_eq!(bytes(&other, 0, 1).await, [1]);
}

#[tokio::test]
async fn a_client_is_blocklisted_by_its_addresses() {
    let place = Place::new();
    let second = place.other();
    place.cluster.blocklist(&second.cluster.addresses().unwrap(), 60).unwrap();
    assert_eq!(second.pool.write_full("late", vec![1]).await.unwrap_err().kind(), Kind::Blocklisted);
    place.pool.write_full("fine", vec![1]).await.unwrap();
    assert!(place.cluster.blocklist("nonsense", 60).is_err());
}

#[tokio::test]
async fn whoever_has_an_image_open_to_write_is_listed() {
    let place = Place::new();
    let image = place.image("one", MIB);
    let (reader, writer) = (place.other(), place.other());
    let _reader = reader.pool.open("one", Mode::ReadOnly, None).unwrap();
    let _writer = writer.pool.open("one", Mode::ReadWrite, None).unwrap();
    let mut listed: Vec<String> = image.watchers().unwrap().into_iter().map(|watcher| watcher.address).collect();
    let mut expected = [&place, &writer].map(|place| place.cluster.addresses().unwrap()).to_vec();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    // One that is blocklisted is gone at once.
    place.cluster.blocklist(&writer.cluster.addresses().unwrap(), 60).unwrap();
    place.pool.stat("nothing").await.unwrap_err();
    assert_eq!(image.watchers().unwrap().len(), 1);
}

#[tokio::test]
async fn the_lock_of_an_object_is_one_clients_until_it_is_broken() {
    let place = Place::new();
    let second = place.other();
    assert_eq!(place.pool.object_locker("one").unwrap(), None);
    place.pool.lock_object("one").unwrap();
    assert_eq!(place.pool.lock_object("one").unwrap_err().kind(), Kind::Exists);
    assert_eq!(second.pool.lock_object("one").unwrap_err().kind(), Kind::Busy);
    let locker = second.pool.object_locker("one").unwrap().unwrap();
    // With the protocol before it, which the blocklist takes too.
    let plain = locker.address.trim_start_matches("v1:");
    assert!(place.cluster.addresses().unwrap().contains(plain), "{locker:?}");
    second.cluster.blocklist(&locker.address, 60).unwrap();
    second.pool.break_object_lock("one", &locker).unwrap();
    second.pool.lock_object("one").unwrap();
    assert_eq!(place.pool.remove("one").await.unwrap_err().kind(), Kind::Blocklisted);
    let third = place.other();
    assert_eq!(third.pool.break_object_lock("one", &locker).unwrap_err().kind(), Kind::NotFound);
    second.pool.remove("one").await.unwrap();
    assert_eq!(third.pool.object_locker("one").unwrap(), None);
    third.pool.lock_object("one").unwrap();
}
