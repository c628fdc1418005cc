//! What every store must do that keeps unfinished transfers.

use std::ops::Range;

use super::bench::MIB;
use super::*;

/// Makes the tests of a store: each case on a fresh bench.
macro_rules! run_upload_cases {
    ($bench:expr) => {
        $crate::image::cases::run_cases! {
            $bench;
            pieces_in_any_order, an_upload_goes_on_where_it_was_cut, an_incremental_in_pieces, a_piece_sent_twice,
            an_overtaken_owner_changes_nothing, what_is_given_up_is_gone, what_is_finished_is_remembered,
            what_was_deleted_has_no_upload, what_nobody_works_on_expires,
            an_idle_upload_keeps_nobody_out, an_upload_whose_base_is_gone, a_damaged_upload
        }
    };
}
pub(in crate::image) use run_upload_cases;

pub(in crate::image) fn upload_request(number: usize, base: Option<usize>, size: usize) -> StageRequest {
    StageRequest { upload: Some("words".to_owned()), ..request(number, base, size) }
}

pub(in crate::image) fn transfer(number: usize) -> TransferId {
    request(number, None, 0).transfer
}

async fn begin(bench: &Bench, number: usize, base: Option<usize>, size: usize) -> Arc<dyn UploadImage> {
    bench.store.stage(upload_request(number, base, size)).await.unwrap().upload().unwrap()
}

async fn resume(bench: &Bench, number: usize) -> Arc<dyn UploadImage> {
    bench.store.resume(&image(), &transfer(number)).await.unwrap()
}

/// Sends `range` of `new` as its difference from `old`, in extents cut anywhere.
async fn feed(
    bench: &Bench,
    upload: &Arc<dyn UploadImage>,
    range: Range<usize>,
    (old, new): (&[u8], &[u8]),
    dice: &mut Dice,
) -> Ingest {
    let piece = range.start as u64..range.end as u64;
    let mut ingest = Ingest::piece(Arc::clone(upload), piece, bench.pool.clone(), 3).await.unwrap();
    let mut position = range.start;
    while position < range.end {
        let end = (position + 1 + dice.below(300_000) as usize).min(range.end);
        let (piece, before) = (&new[position..end], old.get(position..end));
        if before.is_some_and(|before| before == piece) && dice.chance(2) {
            position = end;
            continue;
        }
        match piece.iter().all(|byte| *byte == 0) {
            true => ingest.zero(position as u64, piece.len() as u64).await.unwrap(),
            false => ingest.write(position as u64, piece).await.unwrap(),
        }
        position = end;
    }
    ingest
}

async fn finish(upload: &Arc<dyn UploadImage>, new: &[u8]) -> Committed {
    let (root, durable) = upload.close().await.unwrap();
    assert_eq!(root, root_of(new).await);
    upload.commit(durable, sealed(root)).await.unwrap()
}

fn whole(size: usize) -> Ranges {
    Ranges::try_from(vec![(0, size as u64)]).unwrap()
}

pub(in crate::image) async fn pieces_in_any_order(bench: &Bench) {
    let mut dice = Dice(21);
    let bytes = content(&mut dice, 5 * MIB + 4321);
    let upload = begin(bench, 1, None, bytes.len()).await;
    assert_eq!(bench.names().await, Vec::<String>::new());
    let mut durable = Ranges::default();
    for range in [4 * MIB..bytes.len(), 0..MIB, 2 * MIB..4 * MIB, MIB..2 * MIB] {
        let ingest = feed(bench, &upload, range.clone(), (&[], &bytes), &mut dice).await;
        assert_eq!(ingest.end_piece().await.unwrap(), range.end as u64);
        durable.insert(range.start as u64..range.end as u64);
        upload.checkpoint(durable.clone()).await.unwrap();
        assert_eq!(bench.store.uploads(&image()).await.unwrap()[0].durable, durable);
    }
    let committed = finish(&upload, &bytes).await;
    assert!(matches!(committed, Committed::New(_)));
    bench.check(1, &bytes).await;
}

/// Any cut, with rubbish behind the last mark, and any number of owners.
pub(in crate::image) async fn an_upload_goes_on_where_it_was_cut(bench: &Bench) {
    for seed in 0..12 {
        let mut dice = Dice(100 + seed);
        let number = seed as usize;
        let bytes = content(&mut dice, 3 * MIB + 77 + seed as usize * 5000);
        drop(begin(bench, number, None, bytes.len()).await);
        let mut position = 0;
        while position < bytes.len() {
            let upload = resume(bench, number).await;
            assert_eq!(upload.durable().end_from(0), position as u64, "seed {seed}");
            let end = (position + 1 + dice.below(1_500_000) as usize).min(bytes.len());
            let ingest = feed(bench, &upload, position..end, (&[], &bytes), &mut dice).await;
            assert_eq!(ingest.end_piece().await.unwrap(), end as u64);
            upload.checkpoint(Ranges::try_from(vec![(0, end as u64)]).unwrap()).await.unwrap();
            position = end;
            let rubbish = vec![0xee; bytes.len()];
            let after = (end + dice.below(2_000_000) as usize).min(bytes.len());
            let ingest = feed(bench, &upload, end..after, (&[], &rubbish), &mut dice).await;
            ingest.end_piece().await.unwrap();
            match dice.chance(2) {
                true => upload.suspend().await,
                false => drop(upload),
            }
        }
        finish(&resume(bench, number).await, &bytes).await;
        bench.check(number, &bytes).await;
    }
}

pub(in crate::image) async fn an_incremental_in_pieces(bench: &Bench) {
    let mut dice = Dice(23);
    let mut old = content(&mut dice, 4 * MIB + 9000);
    bench.put(0, None, &old).await.unwrap();
    for (number, size) in [(1, 4 * MIB + 9000), (2, 2 * MIB + 4097), (3, 5 * MIB), (4, 3 * MIB)] {
        let new = changed(&mut dice, &old, size);
        drop(begin(bench, number, Some(number - 1), size).await);
        let mut durable = Ranges::default();
        for start in (0..size.div_ceil(MIB)).rev() {
            let upload = resume(bench, number).await;
            assert_eq!(upload.durable(), durable);
            let range = start * MIB..((start + 1) * MIB).min(size);
            let ingest = feed(bench, &upload, range.clone(), (&old, &new), &mut dice).await;
            ingest.end_piece().await.unwrap();
            durable.insert(range.start as u64..range.end as u64);
            upload.checkpoint(durable.clone()).await.unwrap();
        }
        finish(&resume(bench, number).await, &new).await;
        bench.check(number, &new).await;
        old = new;
    }
}

/// Other content in the same place: the last one counts, to the byte.
pub(in crate::image) async fn a_piece_sent_twice(bench: &Bench) {
    let mut dice = Dice(24);
    let (first, second) = (content(&mut dice, 3 * MIB), content(&mut dice, 3 * MIB));
    let upload = begin(bench, 1, None, 3 * MIB).await;
    for bytes in [&first, &second] {
        let ingest = feed(bench, &upload, 0..3 * MIB, (&[], bytes), &mut dice).await;
        ingest.end_piece().await.unwrap();
    }
    upload.checkpoint(whole(3 * MIB)).await.unwrap();
    drop(upload);
    finish(&resume(bench, 1).await, &second).await;
    bench.check(1, &second).await;
}

pub(in crate::image) async fn an_overtaken_owner_changes_nothing(bench: &Bench) {
    let mut dice = Dice(25);
    let bytes = content(&mut dice, 3 * MIB);
    let old = begin(bench, 1, None, bytes.len()).await;
    feed(bench, &old, 0..MIB + 500, (&[], &bytes), &mut dice).await.end_piece().await.unwrap();
    old.checkpoint(Ranges::try_from(vec![(0, (MIB + 500) as u64)]).unwrap()).await.unwrap();
    let new = resume(bench, 1).await;
    assert_eq!(new.durable().end_from(0), (MIB + 500) as u64);
    assert!(matches!(old.check().await, Err(ImageError::Fenced)));
    // It may still write, and nothing of it may count.
    let mut buffer = bench.pool.take().await;
    buffer.fill(0xee);
    for block in 0..3 {
        let mut rubbish = bench.pool.take().await;
        rubbish.copy_from_slice(&buffer);
        drop(old.write(block, GrainMap::FULL, rubbish).await);
    }
    assert!(matches!(old.checkpoint(whole(bytes.len())).await, Err(ImageError::Fenced)));
    feed(bench, &new, MIB + 500..bytes.len(), (&[], &bytes), &mut dice).await.end_piece().await.unwrap();
    new.checkpoint(whole(bytes.len())).await.unwrap();
    if let Ok((root, durable)) = old.close().await {
        assert!(matches!(old.commit(durable, sealed(root)).await, Err(ImageError::Fenced)));
    }
    old.abort().await;
    finish(&new, &bytes).await;
    drop(old);
    bench.check(1, &bytes).await;
    assert_eq!(bench.names().await, ["s1"]);
}

pub(in crate::image) async fn what_is_given_up_is_gone(bench: &Bench) {
    let bytes = content(&mut Dice(26), 2 * MIB);
    for by_its_owner in [true, false] {
        let upload = begin(bench, 1, None, bytes.len()).await;
        feed(bench, &upload, 0..MIB, (&[], &bytes), &mut Dice(1)).await.end_piece().await.unwrap();
        upload.checkpoint(Ranges::try_from(vec![(0, MIB as u64)]).unwrap()).await.unwrap();
        match by_its_owner {
            true => upload.abort().await,
            false => bench.store.discard(&image(), &transfer(1)).await.unwrap(),
        }
        assert!(upload.checkpoint(whole(bytes.len())).await.is_err());
        drop(upload);
        assert!(bench.store.uploads(&image()).await.unwrap().is_empty());
        let again = bench.store.resume(&image(), &transfer(1)).await;
        assert!(matches!(again, Err(ImageError::NoUpload { .. })));
        bench.store.discard(&image(), &transfer(1)).await.unwrap();
        let Some(vandal) = &bench.vandal else { continue };
        let left: Vec<String> =
            [".raw", ".tree", ".pages", ".upload"].iter().flat_map(|end| vandal.files(end)).collect();
        assert_eq!(left, Vec::<String>::new());
    }
    bench.put(1, None, &bytes).await.unwrap();
    bench.check(1, &bytes).await;
}

pub(in crate::image) async fn what_is_finished_is_remembered(bench: &Bench) {
    let bytes = content(&mut Dice(27), MIB + 5);
    let upload = begin(bench, 1, None, bytes.len()).await;
    feed(bench, &upload, 0..bytes.len(), (&[], &bytes), &mut Dice(1)).await.end_piece().await.unwrap();
    upload.checkpoint(whole(bytes.len())).await.unwrap();
    let record = finish(&upload, &bytes).await.record().clone();
    drop(upload);
    bench.put(2, Some((1, &bytes)), &bytes).await.unwrap();
    let [finished] = &bench.store.uploads(&image()).await.unwrap()[..] else { panic!("it is forgotten") };
    assert_eq!((finished.committed.as_ref(), &finished.durable), (Some(&record), &whole(bytes.len())));
    assert_eq!(finished.request.upload.as_deref(), Some("words"));
    assert!(matches!(bench.store.resume(&image(), &transfer(1)).await, Err(ImageError::NoUpload { .. })));
    bench.store.discard(&image(), &transfer(1)).await.unwrap();
    assert!(bench.store.uploads(&image()).await.unwrap().is_empty());
    bench.check(1, &bytes).await;
}

/// By the clock of whoever asks.
pub(in crate::image) async fn what_nobody_works_on_expires(bench: &Bench) {
    let bytes = content(&mut Dice(31), 2 * MIB);
    let hour = Duration::from_secs(3600);
    let finished = begin(bench, 2, None, bytes.len()).await;
    feed(bench, &finished, 0..bytes.len(), (&[], &bytes), &mut Dice(1)).await.end_piece().await.unwrap();
    finished.checkpoint(whole(bytes.len())).await.unwrap();
    finish(&finished, &bytes).await;
    drop(finished);
    let upload = begin(bench, 1, None, bytes.len()).await;
    feed(bench, &upload, 0..MIB, (&[], &bytes), &mut Dice(1)).await.end_piece().await.unwrap();
    upload.checkpoint(Ranges::try_from(vec![(0, MIB as u64)]).unwrap()).await.unwrap();
    upload.suspend().await;
    drop(upload);
    let touched = async || {
        let there = bench.store.uploads(&image()).await.unwrap();
        there.iter().find(|upload| upload.committed.is_none()).unwrap().touched
    };
    let first = touched().await;
    assert_eq!(bench.store.expire(first).await.unwrap(), 0);
    // To go on with it is to use it.
    resume(bench, 1).await.suspend().await;
    assert!(touched().await > first);
    assert_eq!(bench.store.expire(first + Duration::from_nanos(1)).await.unwrap(), 0);
    assert_eq!(bench.store.expire(touched().await + hour).await.unwrap(), 1);
    let left = bench.store.uploads(&image()).await.unwrap();
    assert!(left.iter().all(|upload| upload.committed.is_some()) && left.len() == 1, "{left:?}");
    let gone = bench.store.resume(&image(), &transfer(1)).await;
    assert!(matches!(gone, Err(ImageError::NoUpload { .. })), "{gone:?}");
    assert_eq!(bench.store.expire(first + 2 * hour).await.unwrap(), 0);
    if let Some(vandal) = &bench.vandal {
        assert_eq!((vandal.files(".pages"), vandal.files(".upload").len()), (Vec::new(), 1));
    }
    bench.check(2, &bytes).await;
    bench.put(1, Some((2, &bytes)), &bytes).await.unwrap();
}

/// Its next sender begins anew.
pub(in crate::image) async fn what_was_deleted_has_no_upload(bench: &Bench) {
    let bytes = content(&mut Dice(28), MIB + 5);
    let upload = begin(bench, 1, None, bytes.len()).await;
    feed(bench, &upload, 0..bytes.len(), (&[], &bytes), &mut Dice(1)).await.end_piece().await.unwrap();
    upload.checkpoint(whole(bytes.len())).await.unwrap();
    finish(&upload, &bytes).await;
    drop(upload);
    bench.store.delete(&image(), &id(1)).await.unwrap();
    assert!(bench.store.uploads(&image()).await.unwrap().is_empty());
}

pub(in crate::image) async fn an_idle_upload_keeps_nobody_out(bench: &Bench) {
    let mut dice = Dice(28);
    let (base, new) = (content(&mut dice, 2 * MIB), content(&mut dice, 2 * MIB));
    bench.put(0, None, &base).await.unwrap();
    let upload = begin(bench, 1, Some(0), new.len()).await;
    assert!(matches!(bench.store.stage(request(2, None, MIB)).await, Err(ImageError::Busy { .. })));
    feed(bench, &upload, 0..MIB, (&base, &new), &mut dice).await.end_piece().await.unwrap();
    upload.checkpoint(Ranges::try_from(vec![(0, MIB as u64)]).unwrap()).await.unwrap();
    upload.suspend().await;
    bench.put(2, None, &base).await.unwrap();
    bench.store.delete(&image(), &id(2)).await.unwrap();
    let staged = bench.store.stage(request(3, None, MIB)).await.unwrap();
    assert!(matches!(bench.store.resume(&image(), &transfer(1)).await, Err(ImageError::Busy { .. })));
    drop(staged);
    let upload = resume(bench, 1).await;
    assert_eq!(upload.durable().end_from(0), MIB as u64);
    feed(bench, &upload, MIB..new.len(), (&base, &new), &mut dice).await.end_piece().await.unwrap();
    finish(&upload, &new).await;
    bench.check(1, &new).await;
}

pub(in crate::image) async fn an_upload_whose_base_is_gone(bench: &Bench) {
    let bytes = content(&mut Dice(29), MIB);
    bench.put(0, None, &bytes).await.unwrap();
    drop(begin(bench, 1, Some(0), bytes.len()).await);
    bench.store.delete(&image(), &id(0)).await.unwrap();
    let gone = bench.store.resume(&image(), &transfer(1)).await;
    assert!(matches!(gone, Err(ImageError::BaseMissing { .. })), "{gone:?}");
    bench.store.discard(&image(), &transfer(1)).await.unwrap();
    bench.put(1, None, &bytes).await.unwrap();
}

pub(in crate::image) async fn a_damaged_upload(bench: &Bench) {
    let Some(vandal) = &bench.vandal else { return };
    let mut dice = Dice(30);
    let bytes = content(&mut dice, 4 * MIB);
    let upload = begin(bench, 1, None, bytes.len()).await;
    let log = vandal.files(".pages").remove(0);
    for block in 0..3 {
        let range = block * MIB..(block + 1) * MIB;
        feed(bench, &upload, range.clone(), (&[], &bytes), &mut dice).await.end_piece().await.unwrap();
        upload.checkpoint(whole(range.end)).await.unwrap();
    }
    drop(upload);
    // A flipped bit in the log takes the progress back, and nothing more.
    vandal.flip(&log, 1200);
    let upload = resume(bench, 1).await;
    let kept = upload.durable().end_from(0) as usize;
    assert!(kept < 3 * MIB, "{kept}");
    feed(bench, &upload, kept..bytes.len(), (&[], &bytes), &mut dice).await.end_piece().await.unwrap();
    upload.checkpoint(whole(bytes.len())).await.unwrap();
    drop(upload);
    // A record that cannot be believed is said so, and can be given up.
    let record = vandal.files(".upload").remove(0);
    vandal.flip(&record, 150);
    let refused = bench.store.resume(&image(), &transfer(1)).await;
    assert!(matches!(refused, Err(ImageError::UploadDamaged { .. })), "{refused:?}");
    bench.store.discard(&image(), &transfer(1)).await.unwrap();
    bench.put(1, None, &bytes).await.unwrap();
    assert_eq!(vandal.files(".pages"), Vec::<String>::new());
}
