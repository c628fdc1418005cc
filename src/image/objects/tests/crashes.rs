//! Death at every step of a commit, a deletion and a collection.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt as _};

use super::storage::Dying;
use super::{gateway, memory, names};
use crate::image::cases::{Bench, changed, content, id, image};
use crate::image::file::Dice;
use crate::image::{Committed, ImageError, ImageStore as _};

const SIZE: usize = (2 << 20) + 5000;

async fn bench(objects: &Arc<dyn ObjectStore>) -> Bench {
    Bench::new(Arc::new(gateway(objects).await), None)
}

/// A copy of all objects.
async fn copy(objects: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let copied = memory();
    for name in names(objects).await {
        let bytes = objects.get(&name).await.unwrap().bytes().await.unwrap();
        copied.put(&name, bytes.into()).await.unwrap();
    }
    copied
}

/// Nothing is left but what `expected` needs.
async fn is_swept(objects: &Arc<dyn ObjectStore>, kept: &[(usize, &[u8])]) {
    let bench = bench(objects).await;
    bench.store.sweep().await.unwrap();
    assert_eq!(bench.store.sweep().await.unwrap(), 0);
    for (number, bytes) in kept {
        bench.check(*number, bytes).await;
    }
    let of = |names: &[object_store::path::Path], folder: &str| {
        names.iter().filter(|name| name.as_ref().contains(&format!("/{folder}/"))).count()
    };
    let there = names(objects).await;
    assert_eq!(of(&there, "manifests"), kept.len());
    assert!(of(&there, "segments") <= kept.len());
    assert!(of(&there, "blocks") <= kept.len() * 3);
    assert!(of(&there, "collections") <= 1);
}

/// Two snapshots, the second one's commit cut at each step, with the last request done or not.
#[tokio::test]
async fn a_commit_is_whole_or_not_there() {
    let mut dice = Dice(1);
    let first = content(&mut dice, SIZE);
    let second = changed(&mut dice, &first, SIZE);
    let start = memory();
    bench(&start).await.put(1, None, &first).await.unwrap();
    for loses_answer in [false, true] {
        for operations in 0.. {
            let objects = copy(&start).await;
            let dying = Arc::new(Dying::after(&objects, operations, loses_answer));
            let result = match super::try_gateway(&dying).await {
                Ok(store) => Bench::new(Arc::new(store), None).put(2, Some((1, &first)), &second).await,
                Err(error) => Err(error),
            };
            let next = bench(&objects).await;
            let names = next.names().await;
            next.check(1, &first).await;
            match &result {
                Ok(_) => assert_eq!(names, ["s1", "s2"], "{operations}"),
                // The answer may have been lost.
                Err(ImageError::Unsure { .. }) if names == ["s1", "s2"] => next.check(2, &second).await,
                Err(_) => assert_eq!(names, ["s1"], "{operations}: {result:?}"),
            }
            let again = next.put(2, Some((1, &first)), &second).await.unwrap();
            assert_eq!(matches!(again, Committed::Already(_)), names.len() == 2);
            next.check(2, &second).await;
            drop(next);
            is_swept(&objects, &[(1, &first), (2, &second)]).await;
            if !dying.has_died() {
                assert!(operations > 10, "there were only {operations} operations");
                break;
            }
        }
    }
}

/// A deletion and the collection after it, cut at each step.
#[tokio::test]
async fn a_collection_takes_garbage_only() {
    let mut dice = Dice(2);
    let first = content(&mut dice, SIZE);
    let second = changed(&mut dice, &first, SIZE);
    let third = content(&mut dice, SIZE);
    let start = memory();
    {
        let bench = bench(&start).await;
        bench.put(1, None, &first).await.unwrap();
        bench.put(2, Some((1, &first)), &second).await.unwrap();
        bench.put(3, None, &third).await.unwrap();
    }
    for loses_answer in [false, true] {
        for operations in 0.. {
            let objects = copy(&start).await;
            let dying = Arc::new(Dying::after(&objects, operations, loses_answer));
            if let Ok(store) = super::try_gateway(&dying).await {
                let _ = store.delete(&image(), &id(1)).await;
                let _ = store.sweep().await;
            }
            let next = bench(&objects).await;
            next.check(2, &second).await;
            next.check(3, &third).await;
            match next.store.delete(&image(), &id(1)).await {
                Ok(()) | Err(ImageError::NotFound { .. }) => {}
                Err(error) => panic!("{operations}: {error}"),
            }
            // What is sent while a collection is half done finds none of what it is about to take.
            next.put(1, None, &first).await.unwrap();
            drop(next);
            is_swept(&objects, &[(1, &first), (2, &second), (3, &third)]).await;
            if !dying.has_died() {
                assert!(operations > 20, "there were only {operations} operations");
                break;
            }
        }
    }
}
