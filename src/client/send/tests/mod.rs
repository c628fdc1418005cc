//! The engine against a gateway that misbehaves.

mod reach;

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rsnap_wire::rbd_diff;

use super::*;
use crate::api::{self, Action};
use crate::client::fake::{Fake, Log, Received, Script, quick};
use crate::client::on_thread;
use crate::client::root::tests::root_of;
use crate::client::source::{StreamInput, StreamKind};
use crate::content::{BLOCK_BYTES, GRAIN_BYTES};

/// Blocks of noise and of nothing, with an end that is not aligned.
fn image(seed: u32, blocks: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = vec![0; blocks * BLOCK_BYTES + 1234];
    for (number, grain) in bytes.chunks_mut(GRAIN_BYTES).enumerate() {
        if number % 7 < 3 || number + 1 == blocks * 256 {
            grain.iter_mut().for_each(|byte| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            });
        }
    }
    bytes
}

fn kept(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn job(gateway: Gateway, snapshot: &str, material: impl Material + 'static) -> Job {
    Job {
        gateway,
        volume: "vol".parse().unwrap(),
        snapshots: snapshot.split(',').map(|id| id.parse().unwrap()).collect(),
        source_volume: Some("source-volume".into()),
        source_snapshot: format!("source-{snapshot}"),
        material: Box::new(material),
        backoff: quick(4),
        streams: None,
        compress: Compress::Never,
    }
}

fn file(path: &tempfile::NamedTempFile, bases: Vec<Base>) -> Image {
    Image::file(path.path().to_owned(), bases).unwrap()
}

fn base(id: &str, path: &tempfile::NamedTempFile) -> Base {
    Base { id: id.into(), path: PathBuf::from(path.path()) }
}

fn pipe(bytes: &[u8]) -> Box<dyn Read + Send> {
    Box::new(std::io::Cursor::new(bytes.to_vec()))
}

fn diff(bytes: &[u8]) -> PassThrough {
    let input = StreamInput::once(pipe(bytes), "-", StreamKind::Diff).unwrap();
    PassThrough::new(input, KnownBase::default(), None)
}

fn assert_no_proofs(received: &Received) {
    assert!(received.trailers.is_empty() && !received.headers.contains_key("trailer"), "{:?}", received.trailers);
}

fn assert_proofs(received: &Received, root: Option<Root>) {
    let (name, text) = match root {
        Some(root) => (api::CONTENT_ROOT, root.to_string()),
        None => (api::BODY_DIGEST, blake3::hash(&received.body).to_string()),
    };
    assert_eq!(received.headers["trailer"], name);
    assert_eq!(received.trailers.len(), 1, "{:?}", received.trailers);
    assert_eq!(received.trailers[name], text.as_str());
}

#[tokio::test]
async fn a_full_image_arrives_without_its_zeroes_and_with_its_proofs() {
    let (fake, bytes) = (Fake::start().await, image(1, 5));
    let source = kept(&bytes);
    let outcome = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }));
    let received = fake.received().remove(0);
    assert_eq!(fake.state.lock().unwrap().store.0["s1"], bytes);
    assert!(received.body.len() < bytes.len() / 2, "zeroes were sent");
    assert_proofs(&received, Some(root_of(&bytes)));
    assert_eq!(received.path, "/v1/volumes/vol/snapshots/s1");
    for (name, value) in [
        ("content-type", api::RBD_DIFF),
        ("authorization", "Bearer ticket"),
        ("trailer", "rsnap-content-root"),
        (api::SOURCE_VOLUME, "source-volume"),
        (api::SOURCE_SNAPSHOT, "source-s1"),
    ] {
        assert_eq!(received.headers[name], value);
    }
    assert!(!received.headers.contains_key(api::BASE));
}

/// The commit whose answer was lost may end between the plan and the beginning of another upload.
#[tokio::test]
async fn a_snapshot_that_came_to_be_since_the_plan_is_asked_for_again() {
    let (fake, bytes, other) = (Fake::start().await, image(1, 20), image(2, 20));
    let source = kept(&bytes);
    for (late, is_ours) in [(&bytes, true), (&other, false)] {
        fake.state.lock().unwrap().late = Some(late.clone());
        fake.state.lock().unwrap().store.0.clear();
        let sent = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await;
        match sent {
            Ok(Outcome::Present { .. }) => assert!(is_ours),
            Err(ClientError::Plan(_) | ClientError::Refused { .. }) => assert!(!is_ours),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_granted_gateway_is_taken_without_asking_for_one() {
    let (fake, bytes) = (Fake::start().await, image(1, 2));
    let source = kept(&bytes);
    let outcome = send(&mut job(fake.granted("a-granted-ticket"), "s1", file(&source, vec![])), &Log::default()).await;
    assert!(matches!(outcome.unwrap(), Outcome::Committed { .. }));
    assert_eq!(fake.received().remove(0).headers["authorization"], "Bearer a-granted-ticket");
    assert_eq!(fake.requests("GET /server"), 0);
}

#[tokio::test]
async fn an_increment_is_sent_from_the_base_that_the_plan_names() {
    let (fake, old, mut new) = (Fake::start().await, image(1, 4), image(1, 6));
    new[2 * BLOCK_BYTES + 100] ^= 1;
    new[3 * BLOCK_BYTES..3 * BLOCK_BYTES + 8 * GRAIN_BYTES].fill(0);
    fake.state.lock().unwrap().store.0.insert("t1".into(), old.clone());
    let (other, base_file, source) = (kept(&image(9, 1)), kept(&old), kept(&new));
    let bases = vec![base("b1", &base_file), base("b0", &other)];
    send(&mut job(fake.gateway(), "s2", file(&source, bases)), &Log::default()).await.unwrap();
    let received = fake.received().remove(0);
    assert_eq!(fake.state.lock().unwrap().store.0["s2"], new);
    assert_eq!((received.headers[api::BASE].clone(), received.headers[api::BASE_ROOT].clone()), {
        ("t1".parse().unwrap(), root_of(&old).to_string().parse().unwrap())
    });
    assert_proofs(&received, Some(root_of(&new)));
    let chain = fake.state.lock().unwrap().plans[0].chain.clone();
    assert_eq!(chain.iter().map(|known| &*known.id).collect::<Vec<_>>(), ["b1", "b0", "source-s2"]);
    assert!(received.body.windows(3).any(|window| window == b"f\x02\0"), "the stream does not name its base");
}

#[test]
fn any_two_images_give_an_increment_that_leads_from_one_to_the_other() {
    let grain = || prop_oneof![3 => Just(0_u8), 2 => Just(1), 1 => Just(2)];
    let grains = move || (proptest::collection::vec(grain(), 0..700), 0..GRAIN_BYTES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(grains(), grains()), |((old, old_tail), (new, new_tail))| {
            let fill = |grains: &[u8], tail: usize| {
                let mut bytes: Vec<u8> = grains.iter().flat_map(|byte| [*byte; GRAIN_BYTES]).collect();
                bytes.extend(vec![7; tail]);
                bytes
            };
            let (old, new) = (fill(&old, old_tail), fill(&new, new_tail));
            runtime.block_on(async {
                let fake = Fake::start().await;
                fake.state.lock().unwrap().store.0.insert("t1".into(), old.clone());
                let (before, source) = (kept(&old), kept(&new));
                let mut job = job(fake.gateway(), "s2", file(&source, vec![base("b", &before)]));
                send(&mut job, &Log::default()).await.unwrap();
                let differing = new.chunks(GRAIN_BYTES).enumerate().filter(|(number, grain)| {
                    let start = number * GRAIN_BYTES;
                    let same: Vec<u8> = (start..start + grain.len()).map(|at| *old.get(at).unwrap_or(&0)).collect();
                    same != *grain
                });
                let most = differing.count() * (GRAIN_BYTES + rbd_diff::RECORD_BYTES) + 100;
                let body = &fake.received()[0].body;
                assert!(body.len() <= most, "{} bytes for at most {most}", body.len());
                assert_eq!(fake.state.lock().unwrap().store.0["s2"], new);
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_huge_hole_costs_nothing() {
    let source = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::FileExt::write_all_at(source.as_file(), b"data", (1 << 40) - 4).unwrap();
    let started = Instant::now();
    let mut material = file(&source, vec![base("b", &source)]);
    material.prepare(&Log::default()).await.unwrap();
    let proven = material.bases().remove(0).root;
    let (parts, mut body) = tokio::sync::mpsc::channel(64);
    let work = material.begin(&Choice::Full, "s").unwrap();
    let form = packing::Form { proof: writer::Proof::Root, packing: packing::Packing::Plain };
    let mut writer = writer::StreamWriter::new(parts, Default::default(), form);
    let sent = on_thread("test", move || work(&mut writer)).await.unwrap();
    assert_eq!(sent.unwrap().map(|root| root.to_string()), proven);
    assert!(body.recv().await.is_none(), "the few bytes of data were not gathered");
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn what_is_there_already_is_not_sent() {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().store.0.insert("s1".into(), vec![1]);
    let source = kept(&[1]);
    let outcome = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Present { .. }));
    assert_eq!(fake.requests("PUT"), 0);
}

#[tokio::test]
async fn the_name_alone_does_not_make_it_present() {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().store.0.insert("s1".into(), vec![1]);
    let source = kept(&[2]);
    let from_pipe = Image::pipe(pipe(&[2]), 1, "-", vec![]);
    for material in [file(&source, vec![]), from_pipe] {
        let error = send(&mut job(fake.gateway(), "s1", material), &Log::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Plan(_)), "{error}");
    }
    let planned = plan(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap();
    assert_eq!(planned.action, Action::Refused);
}

#[tokio::test]
async fn a_refusing_plan_is_final() {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().action = Some(Action::Refused);
    let source = kept(&[1]);
    let error = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Plan(text) if text.contains("as the test wants")), "{error}");
    assert_eq!(fake.requests("PUT"), 0);
}

#[tokio::test]
async fn what_may_heal_is_tried_again_from_the_start() {
    let (fake, bytes, log) = (Fake::start().await, image(2, 6), Log::default());
    let source = kept(&bytes);
    fake.script([Script::CutAfter(0), Script::CutAfter(1_000_000), Script::Refuse(503, 0), Script::Refuse(429, 0)]);
    send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &log).await.unwrap();
    assert_eq!((log.retries(), fake.requests("GET /server"), fake.requests("POST")), (4, 5, 5));
    assert_eq!(fake.state.lock().unwrap().store.0["s1"], bytes);
}

#[tokio::test]
async fn retries_end() {
    let (fake, source, log) = (Fake::start().await, kept(&image(2, 1)), Log::default());
    fake.script([Script::Refuse(503, 0); 9]);
    let error = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &log).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { problem, .. } if problem.status == 503));
    assert_eq!((log.retries(), fake.requests("PUT")), (4, 5));
}

#[tokio::test]
async fn what_cannot_heal_is_not_tried_again() {
    for status in [401, 403, 409, 412, 422, 507] {
        let (fake, source) = (Fake::start().await, kept(&image(2, 1)));
        fake.script([Script::Refuse(status, 0)]);
        let error = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { problem, .. } if problem.status == status));
        assert_eq!(fake.requests("PUT"), 1);
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_body_is_read() {
    let (fake, bytes) = (Fake::start().await, image(3, 40));
    let source = kept(&bytes);
    for limit in [0, 10_000, 3_000_000] {
        fake.script([Script::RefuseAfter(507, limit)]);
        let error = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap_err();
        assert!(matches!(&error, ClientError::Refused { problem, .. } if problem.status == 507), "{limit}: {error}");
    }
}

#[tokio::test]
async fn a_lost_success_is_found_by_the_next_plan() {
    let (fake, source, log) = (Fake::start().await, kept(&image(4, 2)), Log::default());
    fake.script([Script::LoseAnswer]);
    let outcome = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &log).await.unwrap();
    assert!(matches!(outcome, Outcome::Present { .. }));
    assert_eq!((log.retries(), fake.requests("PUT")), (1, 1));
    let plans = fake.state.lock().unwrap().plans.clone();
    assert_eq!((plans[0].chain[0].root.is_none(), plans[1].chain[0].root.is_some()), (true, true));
}

#[tokio::test]
async fn another_root_than_ours_is_no_success() {
    let (fake, source) = (Fake::start().await, kept(&image(4, 1)));
    fake.script([Script::OtherRoot]);
    let error = send(&mut job(fake.gateway(), "s1", file(&source, vec![])), &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Integrity { .. }));
}

#[tokio::test]
async fn a_diff_from_a_pipe_passes_unchanged() {
    let (fake, bytes) = (Fake::start().await, image(5, 3));
    fake.state.lock().unwrap().store.0.insert("x".into(), bytes.clone());
    let stream = fake.state.lock().unwrap().store.diff("x");
    send(&mut job(fake.gateway(), "s1", diff(&stream)), &Log::default()).await.unwrap();
    let received = fake.received().remove(0);
    assert_eq!(received.body, stream);
    assert_proofs(&received, Some(root_of(&bytes)));
}

#[tokio::test]
async fn a_pipe_is_untouched_by_a_refusal_and_spent_by_a_cut() {
    let (fake, log) = (Fake::start().await, Log::default());
    fake.state.lock().unwrap().store.0.insert("x".into(), image(5, 3));
    let stream = fake.state.lock().unwrap().store.diff("x");
    fake.script([Script::Refuse(503, 0), Script::Refuse(503, 0)]);
    send(&mut job(fake.gateway(), "s1", diff(&stream)), &log).await.unwrap();
    assert_eq!(log.retries(), 2);
    fake.script([Script::CutAfter(100_000)]);
    let error = send(&mut job(fake.gateway(), "s2", diff(&stream)), &log).await.unwrap_err();
    assert!(matches!(&error, ClientError::Spent(text) if text.contains("cut")), "{error}");
    fake.script([Script::LoseAnswer]);
    let outcome = send(&mut job(fake.gateway(), "s3", diff(&stream)), &log).await.unwrap();
    assert!(matches!(outcome, Outcome::Present { .. }));
}

#[tokio::test]
async fn a_damaged_diff_is_never_ended() {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().store.0.insert("x".into(), image(5, 3));
    let stream = fake.state.lock().unwrap().store.diff("x");
    let mut longer = stream.clone();
    longer.push(0);
    for (name, stream) in [("cut", &stream[..stream.len() - 1]), ("long", &longer[..])] {
        let error = send(&mut job(fake.gateway(), name, diff(stream)), &Log::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed { .. }), "{name}: {error}");
        assert!(fake.received().is_empty(), "{name} was taken for whole");
    }
}

#[tokio::test]
async fn a_raw_pipe_must_have_the_size_that_was_said() {
    let (fake, bytes) = (Fake::start().await, image(6, 2));
    let size = bytes.len() as u64;
    let material = |size| Image::pipe(pipe(&bytes), size, "-", vec![]);
    for wrong in [size - 1, size + 1] {
        let error = send(&mut job(fake.gateway(), "s1", material(wrong)), &Log::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Changed(_)), "{error}");
    }
    assert!(fake.received().is_empty());
    send(&mut job(fake.gateway(), "s1", material(size)), &Log::default()).await.unwrap();
    assert_eq!(fake.state.lock().unwrap().store.0["s1"], bytes);
}

/// A pipe during whose reading somebody appends to a file.
struct Restless(std::io::Cursor<Vec<u8>>, std::fs::File);

impl Read for Restless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::io::Write::write_all(&mut self.1, b"x")?;
        self.0.read(buffer)
    }
}

#[tokio::test]
async fn a_base_that_changes_while_it_is_compared_stops_the_send() {
    let (fake, old) = (Fake::start().await, image(1, 3));
    fake.state.lock().unwrap().store.0.insert("t1".into(), old.clone());
    let before = kept(&old);
    let touched = std::fs::OpenOptions::new().append(true).open(before.path()).unwrap();
    let restless = Restless(std::io::Cursor::new(old.clone()), touched);
    let material = Image::pipe(Box::new(restless), old.len() as u64, "-", vec![base("b", &before)]);
    let error = send(&mut job(fake.gateway(), "s2", material), &Log::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Changed(_)), "{error}");
    assert!(fake.received().is_empty());
}

/// A diff since snapshot `base`, in which one byte is set.
fn increment() -> Vec<u8> {
    let mut stream = rbd_diff::Header { from: Some("base"), to: Some("new"), size: 9 }.encode().unwrap();
    stream.extend(rbd_diff::data(3, 1));
    stream.push(5);
    stream.extend(rbd_diff::END);
    stream
}

fn onto(known: KnownBase) -> PassThrough {
    PassThrough::new(StreamInput::once(pipe(&increment()), "-", StreamKind::Diff).unwrap(), known, None)
}

#[tokio::test]
async fn a_diff_since_a_base_goes_onto_what_the_plan_or_the_user_names() {
    let fake = Fake::start().await;
    fake.state.lock().unwrap().store.0.insert("t1".into(), vec![1; 9]);
    let error = send(&mut job(fake.gateway(), "s1", onto(KnownBase::default())), &Log::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Plan(text) if text.contains("starts from base")), "{error}");
    let root = Some(root_of(&[1; 9]));
    let known = [KnownBase { snapshot: None, root }, KnownBase { snapshot: Some("t1".into()), root: None }];
    for (known, id) in known.into_iter().zip(["s1", "s2"]) {
        send(&mut job(fake.gateway(), id, onto(known)), &Log::default()).await.unwrap();
        assert_eq!(fake.state.lock().unwrap().store.0[id], [1, 1, 1, 5, 1, 1, 1, 1, 1]);
    }
    let received = fake.received();
    assert!(received.iter().all(|put| put.headers[api::BASE] == "t1"));
    assert!(!received[1].headers.contains_key(api::BASE_ROOT));
    assert_proofs(&received[0], None);
}

#[tokio::test]
async fn a_chain_goes_to_the_collection_without_a_plan() {
    let mut stream = b"rbd image v2\nErbd image diffs v2\n".to_vec();
    stream.extend(3_u64.to_le_bytes());
    for name in [Some("a"), Some("b"), None] {
        stream.extend(b"rbd diff v2\n");
        if name == Some("b") {
            stream.extend(b"f\x05\0\0\0\0\0\0\0\x01\0\0\0a");
        }
        if name.is_none() {
            stream.extend(b"f\x05\0\0\0\0\0\0\0\x01\0\0\0b");
        }
        if let Some(name) = name {
            stream.extend(b"t\x05\0\0\0\0\0\0\0\x01\0\0\0");
            stream.extend(name.bytes());
        }
        stream.extend(b"s\x08\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0e");
    }
    let (fake, input) = (Fake::start().await, StreamInput::once(pipe(&stream), "-", StreamKind::Chain).unwrap());
    let material = PassThrough::new(input, KnownBase::default(), Some(4096));
    assert_eq!((material.snapshots(), material.size()), (2, 4096));
    send(&mut job(fake.gateway(), "s1,s2", material), &Log::default()).await.unwrap();
    let received = fake.received().remove(0);
    assert_eq!(received.path, "/v1/volumes/vol/snapshots?snapshots=s1,s2");
    assert_eq!(
        (received.headers["content-type"].as_bytes(), received.body.len()),
        (&b"application/vnd.ceph.rbd-image"[..], stream.len())
    );
    assert_eq!(fake.requests("POST"), 0);
    assert!(fake.state.lock().unwrap().requests[0].contains("snapshot=s1,s2&size=4096"));
    assert_no_proofs(&received);
}
