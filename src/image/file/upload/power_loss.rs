//! Cutting the power while an upload grows, and taking each of its syncs out in turn.
//!
//! What a checkpoint has promised must be there afterwards and must be right: the next owner goes on behind it, and the
//! snapshot must be what was sent. The same search with one sync left out must find damage, so this test can fail. A
//! failure names its seed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::image::cases::{Bench, content, id, image, root_of, sealed, transfer, upload_request};
use crate::image::file::FileStore;
use crate::image::file::disk::{Disk, SyncPoint};
use crate::image::file::simulated::{Dice, Simulated};
use crate::image::{ImageError, Ingest, Ranges, UploadImage};

const RUNS: u64 = 200;
/// How far the search for damage goes before a sync counts as needless.
const SEARCH: u64 = 2_000;
const ALL: [SyncPoint; 4] =
    [SyncPoint::UploadData, SyncPoint::UploadLog, SyncPoint::UploadRecord, SyncPoint::UploadName];
const SIZE: usize = (3 << 20) + 777;
const STEP: usize = 300_000;

fn bench(disk: &Simulated) -> Result<Bench, ImageError> {
    let store = FileStore::on(Arc::new(disk.clone()), Path::new("/store"))?;
    Ok(Bench::new(Arc::new(store), None))
}

/// Sends one range and makes it durable.
async fn feed(
    bench: &Bench,
    upload: &Arc<dyn UploadImage>,
    durable: &Ranges,
    range: std::ops::Range<u64>,
    bytes: &[u8],
) -> Result<Ranges, ImageError> {
    let mut ingest = Ingest::piece(Arc::clone(upload), range.clone(), bench.pool.clone(), 3).await?;
    ingest.write(range.start, &bytes[range.start as usize..range.end as usize]).await?;
    ingest.end_piece().await?;
    let mut durable = durable.clone();
    durable.insert(range);
    upload.checkpoint(durable.clone()).await?;
    Ok(durable)
}

/// Sends ranges until the power is cut. Gives what was promised; `None`: not even the upload.
async fn send(disk: &Simulated, dice: &mut Dice, bytes: &[u8]) -> Result<Option<Ranges>, String> {
    let mut promised = None;
    let sent: Result<(), ImageError> = async {
        let bench = bench(disk)?;
        let staged = bench.store.stage(upload_request(1, None, bytes.len())).await?;
        let Some(upload) = staged.upload() else { return Ok(()) };
        promised = Some(Ranges::default());
        while let Some(gap) = promised.iter().flat_map(|durable| durable.gaps(bytes.len() as u64)).next() {
            let end = gap.end.min(gap.start + 1 + dice.below(STEP as u64));
            let durable = promised.clone().unwrap_or_default();
            promised = Some(feed(&bench, &upload, &durable, gap.start..end, bytes).await?);
        }
        Ok(())
    }
    .await;
    match sent {
        Err(error) if !disk.is_off() => Err(error.to_string()),
        _ => Ok(promised),
    }
}

/// Goes on where the storage says, and looks at the snapshot that comes of it.
async fn go_on(disk: &Simulated, promised: &Ranges, bytes: &[u8]) -> Result<(), String> {
    let text = |error: ImageError| error.to_string();
    let bench = bench(disk).map_err(text)?;
    let found = bench.store.uploads(&image()).await.map_err(text)?;
    let [there] = &found[..] else { return Err(format!("{} uploads were found", found.len())) };
    if let Some(lost) = promised.iter().find(|range| !there.durable.contains(range)) {
        return Err(format!("{lost:?} was promised, and {:?} is there", there.durable));
    }
    let upload = bench.store.resume(&image(), &transfer(1)).await.map_err(text)?;
    let mut durable = upload.durable();
    for gap in durable.gaps(bytes.len() as u64) {
        upload.clear(gap.clone()).await.map_err(text)?;
        durable = feed(&bench, &upload, &durable, gap, bytes).await.map_err(text)?;
    }
    let (root, proof) = upload.close().await.map_err(text)?;
    if root != root_of(bytes).await {
        return Err("another content root".to_owned());
    }
    upload.commit(proof, sealed(root)).await.map_err(text)?;
    bench.compare(1, bytes).await
}

async fn run(seed: u64, without: Option<SyncPoint>) -> Result<BTreeSet<SyncPoint>, String> {
    let (disk, mut dice) = (Simulated::new(), Dice(seed));
    let bytes = content(&mut dice, SIZE);
    // The names of the store and of the image have a test of their own.
    drop(bench(&disk).map_err(|error| error.to_string())?);
    disk.leave_out(without);
    disk.cut_after(Some(dice.below(160) + 1));
    let promised = send(&disk, &mut dice, &bytes).await?;
    disk.leave_out(None);
    disk.crash(&mut dice);
    if let Some(promised) = promised {
        go_on(&disk, &promised, &bytes).await?;
    }
    Ok(disk.seen())
}

#[tokio::test]
async fn what_a_checkpoint_has_promised_survives_a_power_cut() {
    let mut seen = BTreeSet::new();
    for seed in 0..RUNS {
        match run(seed, None).await {
            Ok(points) => seen.extend(points),
            Err(damage) => panic!("seed {seed}: {damage}"),
        }
    }
    assert!(ALL.iter().all(|point| seen.contains(point)), "a sync was never reached: {seen:?}");
}

#[tokio::test]
async fn without_any_one_sync_of_an_upload_there_is_damage() {
    for point in ALL {
        let mut found = None;
        for seed in 0..SEARCH {
            if let Err(damage) = run(seed, Some(point)).await {
                found = Some((seed, damage));
                break;
            }
        }
        let (seed, damage) = found.unwrap_or_else(|| panic!("nothing is lost without {point:?}"));
        println!("without {point:?}: seed {seed}: {damage}");
    }
}

/// A full disk ends the owner, and its successor goes on when there is room again.
#[tokio::test]
async fn what_was_durable_on_a_full_disk_stays() {
    for seed in 0..40 {
        let (disk, mut dice) = (Simulated::new(), Dice(seed));
        let bytes = content(&mut dice, SIZE);
        disk.limit(Some(disk.used() + 400_000 + dice.below(SIZE as u64)));
        let bench = bench(&disk).unwrap();
        let upload = bench.store.stage(upload_request(1, None, SIZE)).await.unwrap().upload().unwrap();
        let mut durable = Ranges::default();
        let fault = loop {
            let Some(gap) = durable.gaps(SIZE as u64).into_iter().next() else { break None };
            let end = gap.end.min(gap.start + STEP as u64);
            match feed(&bench, &upload, &durable, gap.start..end, &bytes).await {
                Ok(more) => durable = more,
                Err(fault) => break Some(fault),
            }
        };
        assert!(fault.iter().all(|fault| matches!(fault, ImageError::Full { .. })), "seed {seed}: {fault:?}");
        drop((upload, bench));
        disk.limit(None);
        go_on(&disk, &durable, &bytes).await.unwrap_or_else(|damage| panic!("seed {seed}: {damage}"));
    }
}

/// The record of a finished upload outlives its snapshot no longer than to the next transfer.
#[tokio::test]
async fn nothing_is_left_of_an_upload_whose_snapshot_was_deleted() {
    let disk = Simulated::new();
    let bytes = content(&mut Dice(3), SIZE);
    assert!(send(&disk, &mut Dice(4), &bytes).await.unwrap().is_some());
    go_on(&disk, &Ranges::default(), &bytes).await.unwrap();
    let bench = bench(&disk).unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    bench.put(2, None, &bytes[..5000]).await.unwrap();
    let names = disk.list(&Path::new("/store/images").join(image().as_str())).unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".upload")), "{names:?}");
}
