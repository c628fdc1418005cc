//! What strangers do to an image, and what is made of it.

use std::sync::Arc;

use rsnap_rbd::{Features, Layout, Mode};

use rustix::process::Signal;

use super::child::{Writer, request_for};
use super::support::{Scene, Site, site};
use crate::buffer::BufferPool;
use crate::content::GrainMap;
use crate::image::cases::{Bench, content, id, image, request, sealed};
use crate::image::file::Dice;
use crate::image::rbd::record::{OWNER, SNAPSHOT, snapshot_key};
use crate::image::{Committed, ImageError, ImageStore as _};

const MIB: usize = 1 << 20;

impl Scene {
    async fn damaged(&self) -> Vec<String> {
        let chain = self.bench.store.chain(&image()).await.unwrap();
        chain.damaged.iter().map(ToString::to_string).collect()
    }

    fn rbd(&self, arguments: &[&str]) {
        self.site.cluster.rbd(arguments).unwrap();
    }

    async fn put(&self, number: usize, base: usize, bytes: &[u8]) -> Result<Committed, ImageError> {
        self.bench.put(number, Some((base, &self.all[base])), bytes).await
    }
}

#[tokio::test]
async fn a_snapshot_that_was_removed_is_damaged_and_can_be_sent_again() {
    let scene = Scene::new(50, 5 * MIB).await;
    scene.rbd(&["snap", "rm", "--no-progress", &scene.site.name("snapshot-1")]);
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s2"]), text(&["snapshot-1"])));
    let refused = scene.bench.store.open(&image(), &id(1)).await;
    assert!(matches!(refused, Err(ImageError::Damaged { .. })), "{refused:?}");
    let refused = scene.put(3, 1, &scene.all[0]).await;
    assert!(matches!(refused, Err(ImageError::BaseChanged { .. })), "{refused:?}");
    // What stands on its pages is whole.
    scene.bench.check(2, &scene.all[2]).await;
    scene.put(3, 2, &scene.all[0]).await.unwrap();
    scene.put(1, 0, &scene.all[1]).await.unwrap();
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s2", "s3", "s1"]), vec![]));
    for (number, bytes) in [(0, &scene.all[0]), (1, &scene.all[1]), (2, &scene.all[2]), (3, &scene.all[0])] {
        scene.bench.check(number, bytes).await;
    }
}

#[tokio::test]
async fn a_snapshot_that_was_made_again_is_another_one() {
    let scene = Scene::new(50, 5 * MIB).await;
    scene.rbd(&["snap", "rm", "--no-progress", &scene.site.name("snapshot-2")]);
    scene.rbd(&["snap", "create", "--no-progress", &scene.site.name("snapshot-2")]);
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s1"]), text(&["snapshot-2"])));
    let refused = scene.put(2, 1, &scene.all[2]).await;
    let Err(ImageError::Foreign { detail, .. }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("snapshot-2") && detail.contains("rbd snap rm"), "{detail}");
    scene.rbd(&["snap", "rm", "--no-progress", &scene.site.name("snapshot-2")]);
    scene.put(2, 1, &scene.all[2]).await.unwrap();
    scene.bench.check(2, &scene.all[2]).await;
    assert_eq!(scene.damaged().await, text(&[]));
}

#[tokio::test]
async fn a_snapshot_that_was_renamed_is_damaged_until_it_has_its_name_again() {
    let scene = Scene::new(50, 5 * MIB).await;
    let (mine, other) = (scene.site.name("snapshot-2"), scene.site.name("other"));
    scene.rbd(&["snap", "rename", &mine, &other]);
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s1"]), text(&["snapshot-2"])));
    scene.rbd(&["snap", "rename", &other, &mine]);
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s1", "s2"]), text(&[])));
}

#[tokio::test]
async fn a_snapshot_of_that_name_is_noticed_before_the_data_and_after_it() {
    let scene = Scene::new(50, 5 * MIB).await;
    let staged = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await.unwrap();
    let root = scene.bench.ingest(&staged, &scene.all[2], &scene.all[0]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    scene.rbd(&["snap", "create", "--no-progress", &scene.site.name("snapshot-3")]);
    let refused = staged.commit(durable, sealed(root)).await;
    assert!(matches!(refused, Err(ImageError::Foreign { .. })), "{refused:?}");
    staged.abort().await;
    let refused = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await;
    assert!(matches!(refused, Err(ImageError::Foreign { .. })), "{refused:?}");
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s1", "s2"]), text(&[])));
    // It stays as it is.
    assert!(scene.site.image(Mode::ReadOnly).snapshots().unwrap().iter().any(|there| there.name == "snapshot-3"));
    scene.put(4, 2, &scene.all[0]).await.unwrap();
}

#[tokio::test]
async fn an_image_that_is_resized_during_a_transfer_is_not_committed() {
    let scene = Scene::new(50, 5 * MIB).await;
    let staged = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await.unwrap();
    let root = scene.bench.ingest(&staged, &scene.all[2], &scene.all[0]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    scene.rbd(&["resize", "--no-progress", "--size", "64M", &scene.site.name("")]);
    let refused = staged.commit(durable, sealed(root)).await;
    let Err(ImageError::Foreign { detail, .. }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("67108864"), "{detail}");
    staged.abort().await;
    assert_eq!(scene.bench.names().await, text(&["s0", "s1", "s2"]));
    // To a smaller size and back, while data was on its way: what was cut off is lost.
    let staged = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await.unwrap();
    scene.rbd(&["resize", "--no-progress", "--allow-shrink", "--size", "4M", &scene.site.name("")]);
    let mut buffer = BufferPool::new(1).take().await;
    buffer.fill(1);
    let refused = staged.write(0, GrainMap::FULL, buffer).await;
    assert!(matches!(refused, Err(ImageError::Foreign { .. })), "{refused:?}");
    scene.rbd(&["resize", "--no-progress", "--size", "5M", &scene.site.name("")]);
    assert!(staged.flush().await.is_err());
    staged.abort().await;
    scene.put(3, 2, &scene.all[0]).await.unwrap();
    assert_eq!(scene.site.exported("snapshot-3"), scene.all[0]);
}

#[tokio::test]
async fn a_record_that_was_edited_is_not_believed() {
    let scene = Scene::new(50, 5 * MIB).await;
    let key = snapshot_key(&"snapshot-1".parse().unwrap());
    let metadata = scene.site.image(Mode::ReadWrite);
    let text_of = metadata.metadata(&key).unwrap().unwrap();
    metadata.set_metadata(&key, &text_of.replace("\"size\":5242880", "\"size\":5242881")).unwrap();
    metadata.close().unwrap();
    // With it the pages below the next one are lost.
    assert_eq!(scene.bench.names().await, text(&["s0"]));
    let mut damaged = scene.damaged().await;
    damaged.sort();
    assert_eq!(damaged, text(&["snapshot-1", "snapshot-2"]));
    scene.put(1, 0, &scene.all[1]).await.unwrap();
    scene.bench.put(2, Some((1, &scene.all[1])), &scene.all[2]).await.unwrap();
    assert_eq!((scene.bench.names().await, scene.damaged().await), (text(&["s0", "s1", "s2"]), text(&[])));
    for number in 0..3 {
        scene.bench.check(number, &scene.all[number]).await;
    }
    // What was replaced is gone.
    scene.put(3, 0, &scene.all[1]).await.unwrap();
    let left = scene.site.image(Mode::ReadOnly).snapshots().unwrap();
    assert!(left.iter().all(|snapshot| snapshot.name.starts_with("snapshot-")), "{left:?}");
}

#[tokio::test]
async fn a_tree_that_is_missing_or_torn_is_damage() {
    for harm in ["rm", "truncate"] {
        let scene = Scene::new(50, 5 * MIB).await;
        let trees = scene.site.trees();
        let newest = trees.iter().find(|tree| tree.contains(".3.t2.")).unwrap_or_else(|| panic!("{trees:?}"));
        let length = if harm == "rm" { "" } else { "700" };
        let space = &scene.site.namespace;
        scene.site.cluster.shell(&format!("rados -p volumes -N {space} {harm} {newest} {length}")).unwrap();
        let opened = scene.bench.store.open(&image(), &id(2)).await;
        assert!(matches!(opened, Err(ImageError::Damaged { .. })), "{harm}: {opened:?}");
        let refused = scene.put(3, 2, &scene.all[0]).await;
        assert!(matches!(refused, Err(ImageError::BaseChanged { .. })), "{harm}: {refused:?}");
        // It may be sent again, whether it was deleted before or not.
        assert!(!scene.bench.store.confirm(&image(), &id(2)).await.unwrap());
        if harm == "rm" {
            scene.bench.store.delete(&image(), &id(2)).await.unwrap();
        }
        let again = scene.put(2, 1, &scene.all[2]).await.unwrap();
        assert!(matches!(again, Committed::New(_)), "{harm}: {again:?}");
        assert!(scene.bench.store.confirm(&image(), &id(2)).await.unwrap());
        scene.bench.check(2, &scene.all[2]).await;
    }
}

#[tokio::test]
async fn a_base_may_be_deleted_while_it_is_built_upon() {
    let scene = Scene::new(50, 5 * MIB).await;
    let staged = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await.unwrap();
    // By this gateway. Another one must wait.
    let refused = scene.site.store().delete(&image(), &id(1)).await;
    assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
    assert_eq!(scene.bench.names().await, text(&["s0", "s1", "s2"]));
    scene.bench.store.delete(&image(), &id(1)).await.unwrap();
    scene.bench.store.delete(&image(), &id(2)).await.unwrap();
    assert_eq!(scene.bench.names().await, text(&["s0"]));
    let root = scene.bench.ingest(&staged, &scene.all[2], &scene.all[0]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    staged.commit(durable, sealed(root)).await.unwrap();
    drop(staged);
    assert_eq!(scene.bench.names().await, text(&["s0", "s3"]));
    scene.put(4, 0, &scene.all[1]).await.unwrap();
    for (number, bytes) in [(0, &scene.all[0]), (3, &scene.all[0]), (4, &scene.all[1])] {
        scene.bench.check(number, bytes).await;
    }
    let left = scene.site.image(Mode::ReadOnly).snapshots().unwrap();
    assert!(left.iter().all(|snapshot| snapshot.name.starts_with("snapshot-")), "{left:?}");
}

#[tokio::test]
async fn an_image_of_somebody_else_is_not_overwritten() {
    let made = |site: &Site| {
        site.pool().create(image().as_str(), 8 << 20, &Layout::default()).unwrap();
        site.image(Mode::ReadWrite)
    };
    let refusal = async |site: &Site| match site.bench().put(0, None, &[1; 5000]).await {
        Err(ImageError::Foreign { detail, .. }) => detail,
        other => panic!("{other:?}"),
    };
    let with_data = site();
    let theirs = made(&with_data);
    theirs.write(3 << 20, vec![7; 100], 0..100).await.unwrap();
    theirs.close().unwrap();
    assert!(refusal(&with_data).await.contains("data that rsnap did not write"));
    let with_snapshots = site();
    let theirs = made(&with_snapshots);
    theirs.create_snapshot("theirs").unwrap();
    theirs.close().unwrap();
    assert!(refusal(&with_snapshots).await.contains("snapshots that rsnap did not make"));
    let unreadable = site();
    let theirs = made(&unreadable);
    theirs.set_metadata(OWNER, "somebody").unwrap();
    theirs.close().unwrap();
    assert!(refusal(&unreadable).await.contains("rsnap.owner"));
}

#[tokio::test]
async fn an_image_that_shows_the_data_of_another_is_not_blank() {
    let site = site();
    let parent = format!("volumes/{}/parent", site.namespace);
    site.pool().create("parent", 8 << 20, &Layout::default()).unwrap();
    let theirs = site.pool().open("parent", Mode::ReadWrite, None).unwrap();
    theirs.write(3 << 20, vec![7; 100], 0..100).await.unwrap();
    theirs.create_snapshot("one").unwrap();
    theirs.close().unwrap();
    let from = format!("{parent}@one");
    site.cluster.rbd(&["clone", "--rbd-default-clone-format=2", &from, &site.name("")]).unwrap();
    let refused = site.bench().put(0, None, &[1; 5000]).await;
    assert!(matches!(refused, Err(ImageError::Foreign { .. })), "{refused:?}");
    // Looking at it leaves nothing behind.
    assert_eq!(site.image(Mode::ReadOnly).all_metadata("rsnap.").unwrap(), []);
}

#[tokio::test]
async fn a_blank_image_is_used_as_it_is() {
    let site = site();
    let features = Some(Features::LAYERING | Features::EXCLUSIVE_LOCK);
    let layout = Layout { features, object_bytes: Some(1 << 20), ..Layout::default() };
    // Of another size than the snapshot.
    site.pool().create(image().as_str(), 300 << 20, &layout).unwrap();
    let before = site.image(Mode::ReadOnly).id().unwrap();
    let bench = site.bench();
    let bytes = content(&mut Dice(51), 3 * MIB + 5);
    bench.put(0, None, &bytes).await.unwrap();
    bench.check(0, &bytes).await;
    let after = site.image(Mode::ReadOnly);
    assert_eq!((after.id().unwrap(), after.size().unwrap()), (before, 3 * MIB as u64 + 5));
    assert_eq!((Some(after.features().unwrap()), after.object_bytes().unwrap()), (features, 1 << 20));
}

#[tokio::test]
async fn an_image_without_a_lock_is_refused_with_the_remedy() {
    let site = site();
    let layout = Layout { features: Some(Features::LAYERING), ..Layout::default() };
    site.pool().create(image().as_str(), 8 << 20, &layout).unwrap();
    let refused = site.bench().put(0, None, &[1; 5000]).await.unwrap_err().to_string();
    assert!(refused.contains("rbd feature enable"), "{refused}");
}

#[tokio::test]
async fn an_image_that_somebody_has_open_is_in_use() {
    let scene = Scene::new(50, 5 * MIB).await;
    let theirs = scene.site.image(Mode::ReadWrite);
    // Whether they have written, and so have the lock, or not.
    for has_lock in [false, true] {
        let refused = scene.put(3, 2, &scene.all[0]).await;
        let Err(ImageError::InUse { by, .. }) = refused else { panic!("{refused:?}") };
        assert!(by.contains("not rsnap") && by.contains("rbd status"), "{by}");
        assert_eq!(theirs.is_lock_owner().unwrap(), has_lock, "the lock has moved");
        theirs.write(0, vec![9; 10], 0..10).await.unwrap();
    }
    theirs.close().unwrap();
    scene.put(3, 2, &scene.all[0]).await.unwrap();
    scene.bench.check(3, &scene.all[0]).await;
    assert_eq!(scene.site.metrics.heads_reverted.get(), 1);
}

#[tokio::test]
async fn a_stranger_that_does_not_answer_keeps_the_lock() {
    let scene = Scene::new(50, 5 * MIB).await;
    let mut theirs = Writer::start(&scene.site);
    assert_eq!(theirs.ask("stranger 1"), "ok");
    theirs.signal(Signal::STOP);
    let refused = scene.put(3, 2, &scene.all[0]).await;
    assert!(matches!(refused, Err(ImageError::InUse { .. })), "{refused:?}");
    let refused = scene.bench.store.delete(&image(), &id(3)).await;
    assert!(matches!(refused, Err(ImageError::NotFound { .. })), "{refused:?}");
    theirs.signal(Signal::CONT);
    assert_eq!(theirs.ask("scribble 1"), "ok");
    theirs.kill();
}

#[tokio::test]
async fn the_lock_of_a_dead_stranger_is_left_to_the_operator() {
    let scene = Scene::new(50, 5 * MIB).await;
    let client = scene.site.client();
    let theirs = client.pool("volumes", Some(&scene.site.namespace)).unwrap();
    let theirs = theirs.open(image().as_str(), Mode::ReadWrite, None).unwrap();
    theirs.acquire_lock().unwrap();
    let listed = scene.site.cluster.rbd(&["lock", "ls", "--format", "json", &scene.site.name("")]).unwrap();
    let word = |start: &str| listed.split('"').find(|word| word.starts_with(start)).unwrap().to_owned();
    let (cookie, locker) = (word("auto "), word("client."));
    scene.site.client().blocklist(&client.addresses().unwrap(), 3600).unwrap();
    drop(theirs);
    let refused = scene.put(3, 2, &scene.all[0]).await;
    let Err(ImageError::InUse { by, .. }) = refused else { panic!("{refused:?}") };
    assert!(by.contains("rbd lock rm") || by.contains("rbd status"), "{by}");
    scene.rbd(&["lock", "rm", &scene.site.name(""), &cookie, &locker]);
    scene.put(3, 2, &scene.all[0]).await.unwrap();
}

#[tokio::test]
async fn a_copy_of_an_image_does_not_harm_the_writers_of_the_original() {
    let scene = Scene::new(50, 5 * MIB).await;
    let staged = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await.unwrap();
    let copy = format!("volumes/{}/volume-2", scene.site.namespace);
    scene.rbd(&["cp", "--no-progress", &scene.site.name("snapshot-2"), &copy]);
    let other = scene.bench.store.stage(request_for(2, 1, None, 5 * MIB)).await;
    // What rsnap did not make stays as it is, but it was looked at.
    assert!(matches!(other, Err(ImageError::NotOwned { .. } | ImageError::Foreign { .. })), "{other:?}");
    let root = scene.bench.ingest(&staged, &scene.all[2], &scene.all[0]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    staged.commit(durable, sealed(root)).await.unwrap();
    scene.bench.check(3, &scene.all[0]).await;
}

#[tokio::test]
async fn an_image_with_a_journal_is_refused_with_the_remedy() {
    let site = site();
    let features = Some(Features::LAYERING | Features::EXCLUSIVE_LOCK | Features::JOURNALING);
    site.pool().create(image().as_str(), 8 << 20, &Layout { features, ..Layout::default() }).unwrap();
    let refused = site.bench().put(0, None, &[1; 5000]).await.unwrap_err().to_string();
    assert!(refused.contains("journaling") && refused.contains("rbd feature disable"), "{refused}");
}

#[tokio::test]
async fn snapshots_with_clones_stay() {
    let mut site = site();
    site.config.protect = true;
    let bench = site.bench();
    bench.put(0, None, &[1; 5000]).await.unwrap();
    let clone = format!("volumes/{}/clone", site.namespace);
    site.cluster.rbd(&["clone", "--rbd-default-clone-format=1", &site.name("snapshot-0"), &clone]).unwrap();
    let refused = bench.store.delete(&image(), &id(0)).await.unwrap_err().to_string();
    assert!(refused.contains("clones") && refused.contains("rbd children"), "{refused}");
    assert_eq!(bench.names().await, text(&["s0"]));
    bench.put(1, Some((0, &[1; 5000])), &[2; 5000]).await.unwrap();
    site.cluster.rbd(&["rm", "--no-progress", &clone]).unwrap();
    bench.store.delete(&image(), &id(0)).await.unwrap();
    bench.check(1, &[2; 5000]).await;
    // With clones of the second version, Ceph keeps a deleted snapshot in its trash.
    site.cluster.rbd(&["clone", "--rbd-default-clone-format=2", &site.name("snapshot-1"), &clone]).unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    assert_eq!(bench.names().await, text(&[]));
    bench.put(2, None, &[3; 5000]).await.unwrap();
    bench.put(1, Some((2, &[3; 5000])), &[4; 5000]).await.unwrap();
    bench.check(1, &[4; 5000]).await;
    assert_eq!(site.cluster.shell(&format!("rbd export --no-progress {clone} - | head -c 1")).unwrap(), "\u{2}");
}

#[tokio::test]
async fn a_store_is_told_from_others_by_where_it_writes() {
    let (one, other) = (site(), site());
    let identity = async |site: &Site| site.store().identity().await.unwrap().unwrap();
    assert_eq!(identity(&one).await, identity(&one).await);
    assert_ne!(identity(&one).await, identity(&other).await);
}

#[tokio::test]
async fn keys_of_others_are_left_alone() {
    let scene = Scene::new(50, 5 * MIB).await;
    let metadata = scene.site.image(Mode::ReadWrite);
    metadata.set_metadata("cinder", "yes").unwrap();
    metadata.set_metadata(&format!("{SNAPSHOT}not a name"), "what").unwrap();
    metadata.close().unwrap();
    scene.put(3, 2, &scene.all[0]).await.unwrap();
    assert_eq!(scene.site.image(Mode::ReadOnly).metadata("cinder").unwrap().as_deref(), Some("yes"));
}

#[tokio::test]
async fn a_staged_image_keeps_nobody_from_reading() {
    let scene = Scene::new(50, 5 * MIB).await;
    let staged = scene.bench.store.stage(request(3, Some(2), 5 * MIB)).await.unwrap();
    staged.zero(0, GrainMap::FULL).await.unwrap();
    let other = Bench::new(Arc::new(scene.site.store()), None);
    for number in 0..3 {
        other.check(number, &scene.all[number]).await;
    }
    assert_eq!(other.names().await, text(&["s0", "s1", "s2"]));
    drop(staged);
}

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
