//! A gateway dies in each gap of the commit, and what the others find.
//!
//! Death is what the storage sees of it: the client takes part in nothing any more, with its lock and its watch left
//! behind. The same with a real process is in `fence`.

use std::sync::Arc;

use rsnap_rbd::Mode;

use super::support::{Site, site};
use crate::image::cases::{Bench, changed, content, id, image};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::rbd::publish::Step;
use crate::image::rbd::record::INTENT;
use crate::image::{Committed, ImageError};

const STEPS: [Step; 7] =
    [Step::Intended, Step::Created, Step::Identified, Step::Named, Step::Recorded, Step::Protected, Step::Cleared];

fn is_committed(step: Step) -> bool {
    !matches!(step, Step::Intended | Step::Created | Step::Identified)
}

/// Two gateways at one image with one snapshot, of which the first has died in the commit of the second snapshot.
struct Scene {
    site: Site,
    dead: RbdStore,
    bench: Bench,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Scene {
    async fn new(step: Step, protect: bool) -> Self {
        let mut site = site();
        site.config.protect = protect;
        let mut dice = Dice(30);
        let first = content(&mut dice, 9 << 20);
        let second = changed(&mut dice, &first, 9 << 20);
        let dead = site.store();
        let bench = Bench::new(Arc::new(dead.clone()), None);
        bench.put(0, None, &first).await.unwrap();
        dead.shared.deaths.at(step);
        let refused = bench.put(1, Some((0, &first)), &second).await;
        match refused {
            Err(ImageError::Fenced) if !is_committed(step) => {}
            Err(ImageError::Unsure { .. }) if is_committed(step) => {}
            other => panic!("{step:?}: {other:?}"),
        }
        let bench = site.bench();
        Self { site, dead, bench, first, second }
    }

    async fn names(&self) -> Vec<String> {
        self.bench.names().await
    }

    /// Names of the RBD snapshots, and whether they are protected.
    fn snapshots(&self) -> Vec<(String, bool)> {
        let snapshots = self.site.image(Mode::ReadOnly).snapshots().unwrap();
        snapshots.into_iter().map(|snapshot| (snapshot.name, snapshot.protected)).collect()
    }

    fn has_intent(&self) -> bool {
        self.site.image(Mode::ReadOnly).metadata(INTENT).unwrap().is_some()
    }

    /// Everything is as if nobody had died.
    async fn check(&self, protect: bool) {
        assert_eq!(self.names().await, ["s0", "s1"]);
        self.bench.check(0, &self.first).await;
        self.bench.check(1, &self.second).await;
        let expected = ["snapshot-0", "snapshot-1"].map(|name| (name.to_owned(), protect));
        assert_eq!(self.snapshots(), expected);
        assert!(!self.has_intent());
        assert_eq!(self.site.trees().len(), 2);
    }
}

#[tokio::test]
async fn readers_see_it_whole_or_not_at_all() {
    for step in STEPS {
        let scene = Scene::new(step, false).await;
        if is_committed(step) {
            assert_eq!(scene.names().await, ["s0", "s1"], "{step:?}");
            scene.bench.check(1, &scene.second).await;
            assert!(scene.snapshots().contains(&("snapshot-1".to_owned(), false)));
        } else {
            assert_eq!(scene.names().await, ["s0"], "{step:?}");
            let missing = scene.bench.store.open(&image(), &id(1)).await;
            assert!(matches!(missing, Err(ImageError::NotFound { .. })), "{step:?}: {missing:?}");
            assert!(!scene.snapshots().contains(&("snapshot-1".to_owned(), false)));
        }
        assert_eq!(scene.bench.store.chain(&image()).await.unwrap().damaged, []);
        scene.bench.check(0, &scene.first).await;
    }
}

#[tokio::test]
async fn the_next_transfer_heals_it() {
    for step in STEPS {
        let scene = Scene::new(step, true).await;
        let again = scene.bench.put(1, Some((0, &scene.first)), &scene.second).await.unwrap();
        assert_eq!(matches!(again, Committed::Already(_)), is_committed(step), "{step:?}: {again:?}");
        scene.check(true).await;
        // And another one on top of it.
        scene.bench.put(2, Some((1, &scene.second)), &scene.first).await.unwrap();
        scene.bench.check(2, &scene.first).await;
    }
}

#[tokio::test]
async fn whoever_answers_for_it_finishes_it() {
    for step in [Step::Named, Step::Recorded, Step::Protected, Step::Cleared] {
        let scene = Scene::new(step, true).await;
        assert!(scene.bench.store.confirm(&image(), &id(1)).await.unwrap());
        scene.check(true).await;
        assert!(scene.bench.store.confirm(&image(), &id(1)).await.unwrap());
    }
}

#[tokio::test]
async fn it_can_be_deleted() {
    for step in [Step::Named, Step::Recorded, Step::Protected] {
        let scene = Scene::new(step, true).await;
        scene.bench.store.delete(&image(), &id(1)).await.unwrap();
        assert_eq!(scene.names().await, ["s0"], "{step:?}");
        assert_eq!(scene.snapshots(), [("snapshot-0".to_owned(), true)]);
        assert_eq!(scene.site.trees().len(), 1);
        scene.bench.put(1, Some((0, &scene.first)), &scene.second).await.unwrap();
        scene.check(true).await;
    }
}

#[tokio::test]
async fn the_dead_one_may_come_back() {
    for step in [Step::Identified, Step::Named] {
        let scene = Scene::new(step, false).await;
        let bench = Bench::new(Arc::new(scene.dead.clone()), None);
        bench.put(1, Some((0, &scene.first)), &scene.second).await.unwrap();
        scene.check(false).await;
    }
}
