//! The shared cases on a tee of two kinds, and what happens between its two commits.

use super::*;
use crate::image::cases::{Bench, content, id, image, request, root_of, run_cases, sealed};
use crate::image::file::Dice;
use crate::image::{Committed, Fault, FaultStore, FileStore, MemoryStore, Moment, Operation};

fn mixed() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let files = FileStore::open(folder.path()).unwrap();
    Bench::new(Arc::new(TeeStore::new(Arc::new(MemoryStore::new()), Arc::new(files))), None).holding(folder)
}

run_cases!(mixed());

mod files_first {
    use super::*;

    run_cases!({
        let folder = tempfile::tempdir().unwrap();
        let files = FileStore::open(folder.path()).unwrap();
        Bench::new(Arc::new(TeeStore::new(Arc::new(files), Arc::new(MemoryStore::new()))), None).holding(folder)
    });
}

/// Two stores that outlive the gateways before them.
struct Site {
    first: FaultStore,
    second: FaultStore,
}

impl Site {
    fn new() -> Self {
        let store = || FaultStore::new(Arc::new(MemoryStore::new()));
        Self { first: store(), second: store() }
    }

    /// A gateway that has just started.
    fn gateway(&self) -> Bench {
        Bench::new(Arc::new(TeeStore::new(Arc::new(self.first.clone()), Arc::new(self.second.clone()))), None)
    }

    async fn has(store: &FaultStore, number: usize) -> bool {
        store.chain(&image()).await.unwrap().find(&id(number)).is_some()
    }
}

fn fault() -> Fault {
    let error = || ImageError::Io { action: "commit".to_owned(), source: std::io::Error::other("on demand") };
    Fault::Error(Box::new(error))
}

/// Before either, between the two, and with the answer of either lost: nobody sees a half, and the same again heals it.
#[tokio::test]
async fn a_commit_that_is_cut_anywhere_is_healed_by_the_same_again() {
    let bytes = content(&mut Dice(1), 2_000_000);
    for (in_second, moment, (first_has, second_has)) in [
        (false, Moment::Before, (false, false)),
        (false, Moment::After, (true, false)),
        (true, Moment::Before, (true, false)),
        (true, Moment::After, (true, true)),
    ] {
        let site = Site::new();
        let broken = if in_second { &site.second } else { &site.first };
        broken.add(Operation::Commit, None, moment, fault());
        let gateway = site.gateway();
        assert!(gateway.put(1, None, &bytes).await.is_err());
        broken.heal();
        drop(gateway);
        assert_eq!((Site::has(&site.first, 1).await, Site::has(&site.second, 1).await), (first_has, second_has));
        let next = site.gateway();
        let is_visible = first_has && second_has;
        assert_eq!(next.names().await.len(), usize::from(is_visible));
        assert_eq!(next.store.open(&image(), &id(1)).await.is_ok(), is_visible);
        assert_eq!(next.store.confirm(&image(), &id(1)).await.unwrap(), is_visible);
        if !is_visible {
            let on_it = next.store.stage(request(2, Some(1), 100)).await;
            assert!(matches!(on_it, Err(ImageError::BaseMissing { .. })), "{on_it:?}");
        }
        let again = next.put(1, None, &bytes).await.unwrap();
        assert_eq!(matches!(again, Committed::Already(_)), is_visible);
        next.check(1, &bytes).await;
        assert!(Site::has(&site.first, 1).await && Site::has(&site.second, 1).await);
    }
}

/// The gateway dies between the two commits: nobody aborts anything.
#[tokio::test]
async fn a_gateway_that_dies_between_the_commits_leaves_nothing_visible() {
    let site = Site::new();
    let bytes = content(&mut Dice(2), 1_500_000);
    site.second.add(Operation::Commit, None, Moment::Before, Fault::Delay(std::time::Duration::from_secs(3600)));
    let gateway = site.gateway();
    let staged = gateway.store.stage(request(1, None, bytes.len())).await.unwrap();
    let root = gateway.ingest(&staged, &[], &bytes).await.unwrap();
    let durable = staged.flush().await.unwrap();
    let dying = tokio::spawn({
        let staged = Arc::clone(&staged);
        async move { staged.commit(durable, sealed(root)).await }
    });
    while !Site::has(&site.first, 1).await {
        tokio::task::yield_now().await;
    }
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    drop((staged, gateway));
    site.second.heal();
    let next = site.gateway();
    assert_eq!(next.names().await, Vec::<String>::new());
    next.put(1, None, &bytes).await.unwrap();
    next.check(1, &bytes).await;
}

/// Other content is refused until the half is deleted, and then taken.
#[tokio::test]
async fn a_half_can_be_deleted() {
    let site = Site::new();
    let gateway = site.gateway();
    site.second.add(Operation::Commit, None, Moment::Before, fault());
    assert!(gateway.put(1, None, &[1; 5000]).await.is_err());
    site.second.heal();
    let refused = gateway.put(1, None, &[2; 5000]).await;
    assert!(matches!(refused, Err(ImageError::Exists { .. })), "{refused:?}");
    gateway.store.delete(&image(), &id(1)).await.unwrap();
    gateway.put(1, None, &[2; 5000]).await.unwrap();
    gateway.check(1, &[2; 5000]).await;
}

#[tokio::test]
async fn a_deletion_that_is_cut_is_ended_by_the_same_again() {
    let site = Site::new();
    let gateway = site.gateway();
    gateway.put(1, None, &[1; 5000]).await.unwrap();
    site.second.add(Operation::Delete, None, Moment::Before, fault());
    assert!(gateway.store.delete(&image(), &id(1)).await.is_err());
    site.second.heal();
    assert_eq!(gateway.names().await, Vec::<String>::new());
    assert!(gateway.store.deleted(&image(), &id(1)).await.unwrap().is_some());
    gateway.store.delete(&image(), &id(1)).await.unwrap();
    assert!(!Site::has(&site.second, 1).await);
    assert!(matches!(gateway.store.delete(&image(), &id(1)).await, Err(ImageError::NotFound { .. })));
}

/// Where the first has lost something, the second gives it.
#[tokio::test]
async fn what_one_has_lost_the_other_gives() {
    let bytes = content(&mut Dice(3), 2_000_000);
    for (lost, operation) in
        [(true, Operation::Open), (false, Operation::Open), (true, Operation::Read), (true, Operation::Page)]
    {
        let site = Site::new();
        let gateway = site.gateway();
        gateway.put(1, None, &bytes).await.unwrap();
        let damaged = || ImageError::Damaged { snapshot: id(1), offset: 0, detail: "on demand".to_owned() };
        let broken = if lost { &site.first } else { &site.second };
        broken.add(operation, None, Moment::Before, Fault::Error(Box::new(damaged)));
        let opened = gateway.store.open(&image(), &id(1)).await.unwrap();
        assert_eq!(opened.record().root, root_of(&bytes).await);
        gateway.compare_open(&opened, &bytes).await.unwrap();
    }
}
