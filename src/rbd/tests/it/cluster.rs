//! Connections, pools and the list of images.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rsnap_rbd::{Cluster, Kind, Layout, Mode, Settings};
use rsnap_test_ceph::{Cluster as TestCluster, Options, User};

use super::support::{MIB, POOL, Place, all_features, connect, library, settings};

#[test]
fn a_connection_knows_its_cluster_and_itself() {
    let cluster = connect();
    let fsid = TestCluster::shared().ceph(&["fsid"]).unwrap();
    assert_eq!(cluster.fsid().unwrap(), fsid.trim());
    assert!(cluster.addresses().unwrap().contains("127.0.0.1"), "{}", cluster.addresses().unwrap());
    assert!(library().version().starts_with("1."));
}

#[test]
fn what_is_not_there_is_named() {
    let cluster = connect();
    let error = cluster.pool("no-such-pool", None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("no-such-pool"));
    let error = cluster.pool(POOL, Some("no-such-space")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("rbd namespace create volumes/no-such-space"), "{error}");
    let error = cluster.pool(POOL, None).unwrap().open("no-such-image", Mode::ReadOnly, None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("volumes/no-such-image"), "{error}");
}

#[test]
fn a_connection_that_cannot_be_made_says_why() {
    let good = settings(TestCluster::shared());
    let configuration = Some(PathBuf::from("/nowhere/ceph.conf"));
    let error = Cluster::connect(&library(), &Settings { configuration, ..good.clone() }).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ceph.conf"), "{error}");
    let options = vec![("no_such_option".to_owned(), "1".to_owned())];
    let error = Cluster::connect(&library(), &Settings { options, ..good }).unwrap_err();
    assert!(error.to_string().contains("no_such_option"), "{error}");
}

#[test]
fn images_are_made_listed_and_removed() {
    let place = Place::new();
    let stripe = Some((64 << 10, 4));
    let layout = Layout { object_bytes: Some(8 * MIB), features: Some(all_features()), stripe };
    let image = place.image_like("one", 100 * MIB, &layout);
    assert_eq!((image.size().unwrap(), image.object_bytes().unwrap()), (100 * MIB, 8 * MIB));
    assert_eq!(image.stripe().unwrap(), (64 << 10, 4));
    assert!(image.features().unwrap().contains(all_features()));
    assert_eq!(image.flags().unwrap(), rsnap_rbd::Flags::default());
    assert_eq!(image.parent_overlap().unwrap(), 0);
    let id = image.id().unwrap();
    let images = place.pool.images().unwrap();
    assert_eq!(images.iter().map(|image| (&*image.name, &*image.id)).collect::<Vec<_>>(), [("one", &*id)]);
    assert_eq!(place.pool.create("one", MIB, &layout).unwrap_err().kind(), Kind::Exists);

    image.resize(50 * MIB).unwrap();
    assert_eq!(image.size().unwrap(), 50 * MIB);
    image.close().unwrap();
    place.pool.remove_image("one").unwrap();
    assert!(place.pool.images().unwrap().is_empty());
}

#[test]
fn a_size_is_seen_that_the_image_has_no_more() {
    let place = Place::new();
    let image = place.image("one", 8 * MIB);
    assert_eq!(image.smallest_size().unwrap(), 8 * MIB);
    for size in ["2M", "8M"] {
        let path = place.path("one");
        TestCluster::shared().rbd(&["resize", "--no-progress", "--allow-shrink", "-s", size, &path]).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while image.smallest_size().unwrap() != 2 * MIB {
        assert!(Instant::now() < deadline, "nothing was noticed");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(image.size().unwrap(), 8 * MIB);
    image.forget_sizes();
    assert_eq!(image.smallest_size().unwrap(), 8 * MIB);
    image.close().unwrap();
}

#[test]
fn a_long_list_of_images_is_whole() {
    let place = Place::new();
    let names: Vec<String> = (0..150).map(|number| format!("image-{number:04}")).collect();
    for name in &names {
        place.pool.create(name, MIB, &Layout::default()).unwrap();
    }
    let mut listed: Vec<String> = place.pool.images().unwrap().into_iter().map(|image| image.name).collect();
    listed.sort();
    assert_eq!(listed, names);
}

#[test]
fn an_image_with_its_cache_on_is_not_written() {
    let place = Place::new();
    for (option, on) in [("rbd_cache", "true"), ("rbd_persistent_cache_mode", "ssd")] {
        place.image(option, MIB).close().unwrap();
        TestCluster::shared().rbd(&["config", "image", "set", &place.path(option), option, on]).unwrap();
        let error = place.pool.open(option, Mode::ReadWrite, None).unwrap_err();
        assert!(error.to_string().contains(option), "{error}");
        place.pool.open(option, Mode::ReadOnly, None).unwrap();
    }
}

#[test]
fn strangers_and_users_without_rights_are_refused() {
    let reader = User::new("reader", &[("mon", "profile rbd"), ("osd", "profile rbd-read-only pool=volumes")]);
    let options = Options { cephx: true, users: vec![reader], ..Options::default() };
    let cluster = TestCluster::start(&options).unwrap();
    let settings = settings(&cluster);
    let stranger = Settings { user: Some("nobody".to_owned()), ..settings.clone() };
    let error = Cluster::connect(&library(), &stranger).unwrap_err();
    assert!(error.to_string().contains("client.nobody"), "{error}");

    let administrator = Settings { keyring: Some(cluster.keyring("admin")), ..settings.clone() };
    let pool = Cluster::connect(&library(), &administrator).unwrap().pool(POOL, None).unwrap();
    pool.create("one", MIB, &Layout::default()).unwrap();
    let (user, keyring) = (Some("reader".to_owned()), Some(cluster.keyring("reader")));
    let pool = Cluster::connect(&library(), &Settings { user, keyring, ..settings }).unwrap().pool(POOL, None).unwrap();
    pool.open("one", Mode::ReadOnly, None).unwrap();
    let error = pool.create("two", MIB, &Layout::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Permission, "{error}");
}
