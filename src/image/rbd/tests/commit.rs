//! What strangers do in the middle of a commit.

use std::sync::Arc;

use super::support::{Site, site};
use crate::image::ImageError;
use crate::image::cases::{Bench, content};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::rbd::publish::Step;

const MIB: usize = 1 << 20;

/// Commits a snapshot, during which somebody calls `rbd` as said; `{}` stands for the snapshot's temporary name.
async fn disturbed(step: Step, commands: &'static [&'static [&'static str]]) -> (Site, RbdStore, ImageError) {
    let site = site();
    let store = site.store();
    let bytes = content(&mut Dice(120), 3 * MIB);
    let (cluster, name) = (site.cluster, site.name(""));
    store.shared.deaths.meanwhile(step, move || {
        let listed = cluster.rbd(&["snap", "ls", "--format", "json", &name]).unwrap();
        let temporary = listed.split('"').find(|word| word.starts_with("rsnap.")).unwrap_or_default().to_owned();
        for command in commands {
            let words = command.iter().map(|word| word.replace("IMAGE", &name).replace("TEMPORARY", &temporary));
            let words: Vec<String> = words.collect();
            cluster.rbd(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        }
    });
    let bench = Bench::new(Arc::new(store.clone()), None);
    let refused = bench.put(0, None, &bytes).await.unwrap_err();
    let chain = bench.store.chain(&crate::image::cases::image()).await.unwrap();
    assert_eq!((chain.snapshots, chain.damaged), (vec![], vec![]), "{step:?}");
    (site, store, refused)
}

async fn can_be_repeated(site: &Site, store: &RbdStore) {
    let bytes = content(&mut Dice(120), 3 * MIB);
    let bench = Bench::new(Arc::new(store.clone()), None);
    bench.put(0, None, &bytes).await.unwrap();
    bench.check(0, &bytes).await;
    assert_eq!(site.exported("snapshot-0"), bytes);
}

#[tokio::test]
async fn an_image_that_is_resized_in_the_middle_is_not_committed() {
    let resize: &[&[&str]] = &[&["resize", "--no-progress", "--size", "64M", "IMAGE"]];
    let (site, store, refused) = disturbed(Step::Intended, resize).await;
    assert!(refused.to_string().contains("67108864"), "{refused}");
    can_be_repeated(&site, &store).await;
}

#[tokio::test]
async fn a_snapshot_that_was_made_again_in_the_middle_is_not_committed() {
    let remake: &[&[&str]] =
        &[&["snap", "rm", "--no-progress", "IMAGE@TEMPORARY"], &["snap", "create", "--no-progress", "IMAGE@TEMPORARY"]];
    for step in [Step::Created, Step::Identified] {
        let (site, store, refused) = disturbed(step, remake).await;
        assert!(refused.to_string().contains("removed or renamed"), "{step:?}: {refused}");
        can_be_repeated(&site, &store).await;
    }
}
