//! The shared cases on real files and on simulated ones, and what only files can show.

use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::disk::{Disk, SyncPoint};
use super::simulated::Simulated;
use super::*;
use crate::buffer::BufferPool;
use crate::content::{BLOCK_BYTES, LEAF_BYTES};
use crate::image::Inspection;
use crate::image::cases::{self, Bench, Vandal, content, id, image, run_cases, run_upload_cases};
use crate::image::file::Dice;

#[derive(Debug)]
struct RealVandal {
    directory: PathBuf,
    _root: tempfile::TempDir,
}

impl RealVandal {
    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }
}

impl Vandal for RealVandal {
    fn files(&self, suffix: &str) -> Vec<String> {
        let names = OsDisk.list(&self.directory).unwrap_or_default();
        names.into_iter().filter(|name| name.ends_with(suffix)).collect()
    }

    fn flip(&self, file: &str, offset: u64) {
        let opened = std::fs::File::options().read(true).write(true).open(self.path(file)).unwrap();
        let mut byte = [0];
        opened.read_exact_at(&mut byte, offset).unwrap();
        opened.write_all_at(&[byte[0] ^ 1], offset).unwrap();
        // Even someone who sets the time of modification back is noticed.
        opened.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.path(file)).unwrap();
    }

    fn restore(&self, file: &str) {
        let copy = self.path("copy");
        std::fs::copy(self.path(file), &copy).unwrap();
        std::fs::rename(copy, self.path(file)).unwrap();
    }

    fn fill(&self, _full: bool) -> bool {
        false
    }
}

fn real() -> Bench {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deep/store");
    let store = FileStore::open(&path).unwrap();
    let directory = path.join("images").join(image().as_str());
    Bench::new(Arc::new(store), Some(Box::new(RealVandal { directory, _root: root })))
}

#[derive(Debug)]
struct SimulatedVandal {
    disk: Simulated,
}

impl SimulatedVandal {
    fn directory() -> PathBuf {
        Path::new("/store/images").join(image().as_str())
    }
}

impl Vandal for SimulatedVandal {
    fn files(&self, suffix: &str) -> Vec<String> {
        let names = self.disk.list(&Self::directory()).unwrap_or_default();
        names.into_iter().filter(|name| name.ends_with(suffix)).collect()
    }

    fn flip(&self, file: &str, offset: u64) {
        self.disk.flip(&Self::directory().join(file), offset);
    }

    fn remove(&self, file: &str) {
        self.disk.remove(&Self::directory().join(file)).unwrap();
    }

    fn restore(&self, file: &str) {
        self.disk.restore(&Self::directory().join(file));
    }

    fn fill(&self, full: bool) -> bool {
        let used = self.disk.used();
        self.disk.limit(full.then_some(used + 300_000));
        true
    }
}

fn simulated() -> Bench {
    let disk = Simulated::new();
    let store = FileStore::on(Arc::new(disk.clone()), Path::new("/store")).unwrap();
    Bench::new(Arc::new(store), Some(Box::new(SimulatedVandal { disk })))
}

mod on_files {
    use super::*;
    run_cases!(real());
    run_upload_cases!(real());
}

mod on_simulated_files {
    use super::*;
    run_cases!(simulated());
    run_upload_cases!(simulated());
}

#[tokio::test]
async fn a_full_snapshot_is_a_plain_sparse_raw_image() {
    let bench = real();
    let mut bytes = vec![0; 40 << 20];
    bytes[5 << 20..(5 << 20) + 10_000].fill(3);
    let mut next = bytes.clone();
    next[9 << 20] = 1;
    next.truncate((30 << 20) + 11);
    bench.put(0, None, &bytes).await.unwrap();
    bench.put(1, Some((0, &bytes)), &next).await.unwrap();
    let vandal = bench.vandal.as_ref().unwrap();
    let raw = |directory: &Path| {
        let path = directory.join(&vandal.files(".raw")[0]);
        (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().blocks() * 512)
    };
    let directory = first_image(&bench);
    let (read, stored) = raw(&directory);
    assert!(read == bytes && stored < 1 << 20, "{stored} bytes are stored");
    bench.store.delete(&image(), &id(0)).await.unwrap();
    let (read, stored) = raw(&directory);
    assert!(read == next && stored < 1 << 20, "{stored} bytes are stored after the merge");
    let mode = std::fs::metadata(&directory).unwrap().mode();
    assert_eq!(mode & 0o077, 0, "others may look into the image");
}

/// The directory behind the bench, found by a file's name.
fn first_image(bench: &Bench) -> PathBuf {
    let text = format!("{:?}", bench.vandal.as_ref().unwrap());
    let start = text.find('"').unwrap() + 1;
    PathBuf::from(&text[start..start + text[start..].find('"').unwrap()])
}

#[tokio::test]
async fn a_directory_that_is_no_store_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("letter.txt"), "dear").unwrap();
    let refused = FileStore::open(root.path()).unwrap_err();
    assert!(refused.to_string().contains("name an empty directory"), "{refused}");
    let store = root.path().join("store");
    FileStore::open(&store).unwrap();
    FileStore::open(&store).unwrap();
    let marker = store.join("rsnap-store.json");
    let text = std::fs::read_to_string(&marker).unwrap();
    std::fs::write(&marker, text.replace("\"format\":1", "\"format\":7")).unwrap();
    assert!(FileStore::open(&store).unwrap_err().to_string().contains("checksum"));
    let later = crate::image::record::seal(&record::Marker { format: 7 }).unwrap();
    std::fs::write(&marker, later).unwrap();
    assert!(FileStore::open(&store).unwrap_err().to_string().contains("version 7"));
}

#[tokio::test]
async fn long_names_fit() {
    let bench = simulated();
    let mut request = cases::request(1, None, 5000);
    request.name = "n".repeat(128).parse().unwrap();
    request.snapshot = "s".repeat(128).parse().unwrap();
    request.transfer = "t".repeat(128).parse().unwrap();
    bench.put_as(request.clone(), &[], &[1; 5000]).await.unwrap();
    let longest = bench.vandal.as_ref().unwrap().files("").into_iter().map(|name| name.len()).max().unwrap();
    assert!(longest <= 220, "a name of {longest} bytes leaves no room for suffixes");
    bench.store.delete(&image(), &request.snapshot).await.unwrap();
    assert_eq!(bench.vandal.as_ref().unwrap().files(".raw").len(), 0);
}

#[tokio::test]
async fn a_failed_sync_is_not_asked_again() {
    let disk = Simulated::new();
    let bench = Bench::new(Arc::new(FileStore::on(Arc::new(disk.clone()), Path::new("/store")).unwrap()), None);
    for point in [SyncPoint::Data, SyncPoint::Tree, SyncPoint::StagedNames] {
        let staged = bench.store.stage(cases::request(1, None, 5000)).await.unwrap();
        bench.ingest(&staged, &[], &[1; 5000]).await.unwrap();
        disk.fail_once(point);
        assert!(staged.flush().await.is_err());
        // The kernel reports a lost write once; the next sync says all is well.
        assert!(staged.flush().await.is_err(), "what {point:?} lost counts as durable");
    }
    bench.put(1, None, &[1; 5000]).await.unwrap();
    bench.check(1, &[1; 5000]).await;
}

#[tokio::test]
async fn a_store_opened_twice_is_one_store() {
    let root = tempfile::tempdir().unwrap();
    let open = || Bench::new(Arc::new(FileStore::open(root.path()).unwrap()), None);
    let (one, other) = (open(), open());
    let bytes = content(&mut Dice(20), 100_000);
    let staged = one.store.stage(cases::request(1, None, 100_000)).await.unwrap();
    assert!(matches!(other.store.stage(cases::request(2, None, 5)).await, Err(ImageError::Busy { .. })));
    drop(staged);
    one.put(1, None, &bytes).await.unwrap();
    other.check(1, &bytes).await;
    other.put(2, Some((1, &bytes)), &bytes[..50_000]).await.unwrap();
    one.check(2, &bytes[..50_000]).await;
}

#[tokio::test]
async fn a_writer_that_was_overtaken_is_fenced() {
    let bench = real();
    let staged = bench.store.stage(cases::request(1, None, 5000)).await.unwrap();
    let root = bench.ingest(&staged, &[], &[1; 5000]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    // As a lock that a network file system gave away.
    let vandal = bench.vandal.as_ref().unwrap();
    vandal.remove("lock");
    bench.put(1, None, &[2; 5000]).await.unwrap();
    let refused = staged.commit(durable, cases::sealed(root)).await;
    assert!(matches!(refused, Err(ImageError::Fenced)), "{refused:?}");
    drop(staged);
    bench.check(1, &[2; 5000]).await;
}

/// Puts copies of snapshot 1 on top of each other, as a thousand equal incrementals would have left them.
fn lengthen(directory: &Path, length: usize) {
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let first = record::unseal_stored(&read("snapshot-1.snapshot")).unwrap();
    let (data, tree) = (read(&first.data), read(&first.tree));
    let mut stored = first;
    for number in 2..length {
        stored.parent = Some(stored.layer);
        stored.layer = format!("layer-{number}");
        stored.record.snapshot = id(number);
        stored.record.name = format!("snapshot-{number}").parse().unwrap();
        stored.sequence += 1;
        (stored.data, stored.tree) = (format!("{number}.delta"), format!("{number}.tree"));
        std::fs::write(directory.join(&stored.data), &data).unwrap();
        std::fs::write(directory.join(&stored.tree), &tree).unwrap();
        let record = layout::record_file(&stored.record.name);
        std::fs::write(directory.join(record), crate::image::record::seal(&stored).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_long_chain_opens_by_its_records_and_indexes_alone() {
    let bench = real();
    let first = content(&mut Dice(21), 50_000);
    let mut second = first.clone();
    second[12_345] ^= 0x80;
    bench.put(0, None, &first).await.unwrap();
    bench.put(1, Some((0, &first)), &second).await.unwrap();
    lengthen(&first_image(&bench), 1000);
    let start = std::time::Instant::now();
    assert_eq!(bench.names().await.len(), 1000);
    let snapshot = bench.store.open(&image(), &id(999)).await.unwrap();
    let elapsed = start.elapsed();
    bench.compare_open(&snapshot, &second).await.unwrap();
    // An unoptimised build on a busy machine; pages and data would take many times as long.
    assert!(elapsed < std::time::Duration::from_secs(5), "it took {elapsed:?}");
    println!("a chain of 1,000 was listed and opened in {elapsed:?}");
}

async fn inspect(bench: &Bench, from: u64) -> (Vec<Range<u64>>, u64) {
    let opened = bench.store.open(&image(), &id(1)).await.unwrap();
    let mut inspection = Inspection::begin(opened, from).await.unwrap();
    let (mut found, mut read) = (Vec::new(), 0);
    let mut buffer = BufferPool::new(1).take().await;
    while let Some(looked) = inspection.next(&mut buffer).await.unwrap() {
        found.extend(looked.damaged.into_iter().map(|damage| damage.bytes));
        read += u64::from(looked.read);
    }
    (found, read)
}

#[tokio::test]
async fn every_damaged_leaf_is_named_and_what_is_sound_is_not() {
    let bench = real();
    let mut bytes = vec![0; 40 * BLOCK_BYTES + 5];
    for block in [0, 3, 40] {
        bytes[block * BLOCK_BYTES..][..5].fill(7);
    }
    bytes[3 * BLOCK_BYTES..4 * BLOCK_BYTES].fill(9);
    bench.put(1, None, &bytes).await.unwrap();
    assert_eq!(inspect(&bench, 0).await, (vec![], 3));
    let vandal = bench.vandal.as_ref().unwrap();
    let (mib, leaf) = (BLOCK_BYTES as u64, LEAF_BYTES as u64);
    for offset in [3 * mib, 3 * mib + 70_000, 3 * mib + 200_000, 40 * mib + 4] {
        vandal.flip(&vandal.files(".raw")[0], offset);
    }
    let three = 3 * mib;
    let expected = [three..three + 2 * leaf, three + 3 * leaf..three + 4 * leaf, 40 * mib..40 * mib + 5];
    assert_eq!(inspect(&bench, 0).await, (expected.to_vec(), 3));
    assert_eq!(inspect(&bench, 4 * mib).await, (expected[2..].to_vec(), 1));
    // A page of the tree: the first in the sidecar is that of block 0, and its siblings stay proven.
    vandal.flip(&vandal.files(".tree")[0], 100);
    let found = inspect(&bench, 0).await;
    assert_eq!((&found.0[..2], found.1), (&[0..mib, expected[0].clone()][..], 2));
}
