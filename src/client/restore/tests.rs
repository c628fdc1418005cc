//! Restoring from a gateway that misbehaves.

use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use super::*;
use crate::client::fake::{Fake, Log, Script, quick};

const SIZE: usize = 6_500_123;

/// Data, holes and an end that is not aligned.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    bytes[5_000..900_000].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
    bytes[4_000_000..4_000_100].fill(9);
    bytes[SIZE - 3..].fill(1);
    bytes
}

async fn fake() -> Fake {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().store.0.insert("s1".into(), image());
    fake
}

fn job(fake: &Fake, shape: Shape, retries: u32) -> Restore {
    let (volume, snapshot) = ("vol".parse().unwrap(), "s1".parse().unwrap());
    Restore { gateway: fake.gateway(), volume, snapshot, shape, backoff: quick(retries) }
}

fn into_file(directory: &tempfile::TempDir) -> Destination {
    Destination::File { path: directory.path().join("image"), replace: false }
}

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(directory.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_image_comes_back_sparse_and_verified() {
    let (fake, directory) = (fake().await, tempfile::tempdir().unwrap());
    let restored = restore(&job(&fake, Shape::Raw, 0), into_file(&directory), &Log::default()).await.unwrap();
    assert!(restored.verified && restored.moved < SIZE as u64 / 3);
    let path = directory.path().join("image");
    assert_eq!(std::fs::read(&path).unwrap(), image());
    assert!(path.metadata().unwrap().blocks() * 512 < SIZE as u64 / 3, "holes were filled");
    assert_eq!(names(&directory), ["image"]);
}

#[tokio::test]
async fn a_cut_response_is_continued_where_it_broke() {
    for cut in [0, 3, 40, 500_000, 900_000] {
        let (fake, directory, log) = (fake().await, tempfile::tempdir().unwrap(), Log::default());
        fake.script([Script::CutAfter(cut), Script::CutAfter(100_000), Script::Refuse(503, 0)]);
        restore(&job(&fake, Shape::Raw, 3), into_file(&directory), &log).await.unwrap();
        assert_eq!(std::fs::read(directory.path().join("image")).unwrap(), image(), "cut after {cut}");
        assert_eq!(log.retries(), 3);
        let ranges = fake.state.lock().unwrap().ranges.clone();
        let from: usize = ranges[0].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!(from >= cut.max(90_000) - 10_000, "{ranges:?} after a cut at {cut}");
    }
}

#[tokio::test]
async fn a_cut_response_without_retries_leaves_nothing() {
    for shape in [Shape::Raw, Shape::RbdDiff { base: None }] {
        let (fake, directory) = (fake().await, tempfile::tempdir().unwrap());
        fake.script([Script::CutAfter(500_000)]);
        let error = restore(&job(&fake, shape, 0), into_file(&directory), &Log::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Cut(_)), "{error}");
        assert_eq!(names(&directory), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_nothing_is_left() {
    for shape in [Shape::Raw, Shape::RbdDiff { base: None }] {
        let (fake, directory) = (fake().await, tempfile::tempdir().unwrap());
        fake.script([Script::Flip(300_000)]);
        let error = restore(&job(&fake, shape, 3), into_file(&directory), &Log::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Integrity { .. }), "{error}");
        assert_eq!(names(&directory), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_pipe_gets_every_byte_in_order_and_hears_of_a_wrong_root() {
    let (fake, pipe) = (fake().await, Pipe::default());
    fake.script([Script::CutAfter(200_000)]);
    let stream = Destination::Stream(Box::new(pipe.clone()));
    restore(&job(&fake, Shape::Raw, 1), stream, &Log::default()).await.unwrap();
    assert_eq!(*pipe.0.lock().unwrap(), image());
    fake.script([Script::Flip(300_000)]);
    let stream = Destination::Stream(Box::new(Pipe::default()));
    let error = restore(&job(&fake, Shape::Raw, 1), stream, &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Integrity { .. }), "{error}");
}

#[tokio::test]
async fn a_diff_comes_back_as_it_was_sent_even_after_a_cut() {
    let (fake, directory) = (fake().await, tempfile::tempdir().unwrap());
    fake.script([Script::CutAfter(123_456)]);
    restore(&job(&fake, Shape::RbdDiff { base: None }, 1), into_file(&directory), &Log::default()).await.unwrap();
    let stream = fake.state.lock().unwrap().store.diff("s1");
    assert_eq!(std::fs::read(directory.path().join("image")).unwrap(), stream);
}

#[tokio::test]
async fn a_diff_in_a_pipe_cannot_begin_again() {
    let (fake, pipe) = (fake().await, Pipe::default());
    fake.script([Script::Refuse(503, 0), Script::CutAfter(123_456)]);
    let stream = Destination::Stream(Box::new(pipe));
    let log = Log::default();
    let error = restore(&job(&fake, Shape::RbdDiff { base: None }, 5), stream, &log).await.unwrap_err();
    assert!(matches!(error, ClientError::Cut(_)), "{error}");
    assert_eq!(log.retries(), 1);
}

#[tokio::test]
async fn an_existing_file_is_kept_unless_told_otherwise() {
    let (fake, directory) = (fake().await, tempfile::tempdir().unwrap());
    let path = directory.path().join("image");
    std::fs::write(&path, "mine").unwrap();
    let error = restore(&job(&fake, Shape::Raw, 0), into_file(&directory), &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Usage(_)), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let replace = Destination::File { path: path.clone(), replace: true };
    restore(&job(&fake, Shape::Raw, 0), replace, &Log::default()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), image());
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_is() {
    let (fake, directory) = (fake().await, tempfile::tempdir().unwrap());
    let mut job = job(&fake, Shape::Raw, 0);
    job.snapshot = "s9".parse().unwrap();
    let error = restore(&job, into_file(&directory), &Log::default()).await.unwrap_err();
    assert!(error.to_string().contains("it has s1"), "{error}");
}

#[tokio::test]
async fn a_device_is_overwritten_zeroes_included() {
    let (fake, device) = (fake().await, tempfile::NamedTempFile::new().unwrap());
    std::fs::write(device.path(), vec![0xee; SIZE + 10]).unwrap();
    let destination = || Destination::Device(device.path().to_owned());
    restore(&job(&fake, Shape::Raw, 0), destination(), &Log::default()).await.unwrap();
    let written = std::fs::read(device.path()).unwrap();
    assert_eq!((&written[..SIZE], &written[SIZE..]), (&image()[..], &[0xee; 10][..]));
    device.as_file().set_len(SIZE as u64 - 1).unwrap();
    let error = restore(&job(&fake, Shape::Raw, 0), destination(), &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Usage(_)), "{error}");
}
