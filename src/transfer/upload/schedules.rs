//! Three gateways on one store, whose requests are cut, sleep, die and overtake each other, in a thousand schedules.
//!
//! Each schedule is made from a seed, which a failure names; `RSNAP_SEED` runs that one alone. What must hold at the end
//! of each: the snapshot has the sender's root, or nobody was told that it is there; what was committed before is what it
//! was; and what was told to be durable never was sent again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use rsnap_wire::rbd_diff;
use tokio::task::JoinHandle;

use super::*;
use crate::buffer::BufferPool;
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, Root};
use crate::id::SiteName;
use crate::image::{ImageStore, Ingest, MemoryStore, StageRequest};
use crate::metrics::Metrics;
use crate::plugin::{
    Decision, Destination, Location, Plan, PluginError, Policy, PolicyRequest, Resolver, Site, Slot,
    TransferDescription, Writer,
};
use crate::transfer::{Body, BodyError, Config, DigestTrailers, Format, Parts, Trailers, Upload};

const BLOCKS: u64 = 4;
const SIZE: u64 = BLOCKS * BLOCK_BYTES as u64 - 1000;
const SCHEDULES: u64 = 2000;
/// Threads, of which each takes the next seed.
const THREADS: usize = 2;

/// Plugins that do the least.
struct Plain(MemoryStore);

#[async_trait]
impl Writer for Plain {
    fn name(&self) -> &str {
        "plain"
    }
    async fn locate(&self, volume: &VolumeId) -> Result<Location, PluginError> {
        Ok(Location { store: "main".parse().unwrap(), image: volume.as_str().parse().unwrap() })
    }
    async fn begin(&self, transfer: &TransferDescription) -> Result<Destination, PluginError> {
        let request = StageRequest {
            transfer: transfer.id.clone(),
            volume: transfer.volume.clone(),
            snapshot: transfer.snapshot.clone(),
            image: transfer.volume.as_str().parse().unwrap(),
            name: transfer.snapshot.as_str().parse().unwrap(),
            size: transfer.size,
            base: transfer.base.clone(),
            upload: transfer.upload.clone(),
        };
        Ok(Destination::Image(Ingest::new(self.0.stage(request).await?, BufferPool::new(4), 2)))
    }
}

#[async_trait]
impl Policy for Plain {
    fn name(&self) -> &str {
        "plain"
    }
    async fn decide(&self, _request: &PolicyRequest) -> Result<Plan, PluginError> {
        Ok(Plan { decision: Decision::Full, reason: "it is asked for".to_owned() })
    }
}

#[async_trait]
impl Resolver for Plain {
    fn name(&self) -> &str {
        "plain"
    }
    async fn resolve(&self, _name: &SiteName) -> Result<Option<Site>, PluginError> {
        Ok(None)
    }
}

fn gateway(store: &MemoryStore) -> Arc<Transfers> {
    let plain = Arc::new(Plain(store.clone()));
    let stores: HashMap<_, Arc<dyn ImageStore>> =
        HashMap::from([("main".parse().unwrap(), Arc::new(store.clone()) as _)]);
    let parts = Parts {
        metrics: Arc::new(Metrics::new()),
        load: crate::cluster::load(None),
        writer: Slot::new(Arc::<Plain>::clone(&plain)),
        policy: Slot::new(Arc::<Plain>::clone(&plain)),
        resolver: Slot::new(plain),
        stores,
        pool: BufferPool::new(64),
    };
    Arc::new(Transfers::new(parts, &Config { depth: 2, transfers: 64, ..Config::default() }))
}

/// A sender: so many bytes in pieces, and then a cut, an end, or nothing more for ever.
struct Script {
    pieces: VecDeque<Bytes>,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    Cut,
    Asleep,
}

#[async_trait]
impl Body for Script {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(piece) = self.pieces.pop_front() {
            return Ok(Some(piece));
        }
        match self.end {
            End::Whole => Ok(None),
            End::Cut => Err(BodyError::Cut("on purpose".to_owned())),
            End::Asleep => std::future::pending().await,
        }
    }
    async fn trailers(&mut self) -> Result<Trailers, BodyError> {
        Ok(Trailers::default())
    }
}

/// Random numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The image of a sender: a few grains, told by the seed.
fn image(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    for _ in 0..12 {
        let start = dice.below(SIZE - 5000) as usize;
        let length = 1 + dice.below(5000) as usize;
        bytes[start..start + length].fill(1 + dice.below(250) as u8);
    }
    bytes
}

/// The changes of a range, cut into frames anywhere.
fn changes(bytes: &[u8], range: &Range<u64>, dice: &mut Dice, end: End) -> Script {
    let mut stream = rbd_diff::Header { from: None, to: Some("s"), size: SIZE }.encode().unwrap();
    for start in (range.start..range.end).step_by(GRAIN_BYTES) {
        let piece = &bytes[start as usize..(start + GRAIN_BYTES as u64).min(range.end) as usize];
        if piece.iter().any(|byte| *byte != 0) {
            stream.extend(rbd_diff::data(start, piece.len() as u64));
            stream.extend(piece);
        }
    }
    stream.extend(rbd_diff::END);
    if end != End::Whole {
        stream.truncate(dice.below(stream.len() as u64) as usize);
    }
    framed(stream, dice, end)
}

fn plain(bytes: &[u8], offset: u64, dice: &mut Dice, end: End) -> Script {
    let rest = &bytes[offset as usize..];
    let length = if end == End::Whole { rest.len() } else { dice.below(rest.len() as u64 + 1) as usize };
    framed(rest[..length].to_vec(), dice, end)
}

fn framed(stream: Vec<u8>, dice: &mut Dice, end: End) -> Script {
    let size = 1 + dice.below(300_000) as usize;
    Script { pieces: stream.chunks(size).map(Bytes::copy_from_slice).collect(), end }
}

fn upload() -> Upload {
    Upload {
        volume: "v".parse().unwrap(),
        snapshot: "s".parse().unwrap(),
        format: Format::RbdDiff,
        length: None,
        size: Some(SIZE),
        base: crate::transfer::BaseClaim::default(),
        root: None,
        source: Identity::default(),
        issued: SystemTime::now(),
        principal: "test".to_owned(),
        sender: None,
        digests: Vec::new(),
        digest_trailers: DigestTrailers::default(),
        metadata: None,
    }
}

struct World {
    store: MemoryStore,
    gateways: Vec<Arc<Transfers>>,
    sleepers: Vec<(usize, JoinHandle<()>)>,
    dice: Dice,
    bytes: Vec<u8>,
    root: Root,
}

impl World {
    async fn new(seed: u64) -> Self {
        let (store, mut dice) = (MemoryStore::new(), Dice(seed));
        let bytes = image(&mut dice);
        // One PUT elsewhere tells the root.
        let put = Upload { format: Format::Raw, length: Some(SIZE), ..upload() };
        let mut body = Script { pieces: VecDeque::from([Bytes::copy_from_slice(&bytes)]), end: End::Whole };
        let committed = gateway(&MemoryStore::new()).receive(put, &mut body).await.unwrap();
        let gateways = (0..3).map(|_| gateway(&store)).collect();
        Self { store, gateways, sleepers: Vec::new(), dice, bytes, root: committed.record().root }
    }

    fn any(&mut self) -> Arc<Transfers> {
        let chosen = self.dice.below(3) as usize;
        Arc::clone(&self.gateways[chosen])
    }

    async fn begin(&mut self) -> UploadId {
        let gateway = self.any();
        for _ in 0..20 {
            match gateway.create_upload(&upload()).await {
                Ok(Created::Upload(id)) => return id,
                Ok(Created::Present(_)) => panic!("it is there before it was sent"),
                Err(TransferError::Image(ImageError::Busy { .. })) => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
        panic!("the image stays busy")
    }

    /// One request of a sender who knows what is there.
    async fn step(&mut self, id: &UploadId) -> Result<(), TransferError> {
        let state = self.any().upload(id).await?;
        let gaps = state.durable.gaps(SIZE);
        let Some(gap) = gaps.get(self.dice.below(gaps.len().max(1) as u64) as usize) else { return Ok(()) };
        let end = [End::Whole, End::Whole, End::Cut, End::Asleep][self.dice.below(4) as usize];
        let (piece, mut body) = if self.dice.below(6) == 0 {
            let offset = state.offset();
            (Piece::Bytes { offset }, plain(&self.bytes, offset, &mut self.dice, end))
        } else {
            let step = BLOCK_BYTES as u64;
            let start = gap.start.next_multiple_of(step);
            let blocks = gap.end.div_ceil(step).saturating_sub(start / step);
            if start >= gap.end || blocks == 0 {
                let offset = state.offset();
                (Piece::Bytes { offset }, plain(&self.bytes, offset, &mut self.dice, end))
            } else {
                let stop = (start + (1 + self.dice.below(blocks)) * step).min(gap.end);
                let range = start..stop;
                (Piece::Changes { range: range.clone() }, changes(&self.bytes, &range, &mut self.dice, end))
            }
        };
        let (chosen, id) = (self.dice.below(3) as usize, id.clone());
        let gateway = Arc::clone(&self.gateways[chosen]);
        let work = async move { gateway.append(&id, &piece, Claims::default(), &mut body).await.map(drop) };
        if end == End::Asleep {
            self.sleepers.push((chosen, tokio::spawn(async move { drop(work.await) })));
            tokio::task::yield_now().await;
            return Ok(());
        }
        work.await
    }

    async fn is_unfinished(&mut self, id: &UploadId) -> bool {
        self.any().upload(id).await.unwrap().committed.is_none()
    }

    /// A gateway dies, with all that it was doing.
    fn die(&mut self) {
        let victim = self.dice.below(3) as usize;
        self.gateways[victim] = gateway(&self.store);
        // Those of the others go on: nothing but a death cancels a request in the middle.
        for (_, sleeper) in self.sleepers.extract_if(.., |(gateway, _)| *gateway == victim) {
            sleeper.abort();
        }
    }

    async fn check(&self) {
        let snapshot = self.store.open(&"v".parse().unwrap(), &"s".parse().unwrap()).await.unwrap();
        assert_eq!(snapshot.record().root, self.root);
        for block in 0..BLOCKS {
            let mut buffer = BufferPool::new(1).take().await;
            snapshot.read(block, GrainMap::FULL, &mut buffer).await.unwrap();
            let start = block as usize * BLOCK_BYTES;
            let expected = &self.bytes[start..(start + BLOCK_BYTES).min(self.bytes.len())];
            assert!(buffer[..expected.len()] == *expected, "block {block} is another");
        }
    }
}

async fn run(seed: u64) {
    let mut world = World::new(seed).await;
    let mut id = world.begin().await;
    let (mut told, mut steps) = (0, 0);
    loop {
        steps += 1;
        assert!(steps < 400, "it does not come to an end");
        match world.dice.below(20) {
            0 => world.die(),
            1 if steps < 50 && world.is_unfinished(&id).await => {
                world.any().cancel(&id).await.unwrap();
                assert!(matches!(
                    world.any().upload(&id).await,
                    Err(TransferError::Image(ImageError::NoUpload { .. }))
                ));
                (id, told) = (world.begin().await, 0);
            }
            2 => {
                let early = world.any().complete(&id, Some(world.root)).await;
                if early.is_ok() {
                    break;
                }
            }
            _ => match world.step(&id).await {
                Ok(()) | Err(TransferError::Body(_)) => {}
                // Others were faster, or own it: whoever hears that asks again.
                Err(
                    TransferError::UploadRange(_)
                    | TransferError::UploadOffset { .. }
                    | TransferError::Image(ImageError::Fenced | ImageError::Busy { .. }),
                ) => {}
                Err(other) => panic!("{other}"),
            },
        }
        let state = world.any().upload(&id).await.unwrap();
        assert!(state.durable.total() >= told, "what was durable is not any more");
        told = state.durable.total();
        if told == SIZE {
            match world.any().complete(&id, Some(world.root)).await {
                // Half of the answers get lost.
                Ok(_) if world.dice.below(2) == 0 => break,
                Ok(_) | Err(TransferError::Image(ImageError::Fenced | ImageError::Busy { .. })) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    world.check().await;
    let again = world.any().complete(&id, Some(world.root)).await.unwrap();
    assert!(matches!(again, Committed::Already(_)));
    world.check().await;
    world.die();
}

#[tokio::test]
async fn an_abandoned_upload_expires_by_the_clock() {
    let mut world = World::new(1).await;
    let id = world.begin().await;
    let day = |count: u32| SystemTime::now() + count * Duration::from_secs(24 * 3600);
    assert_eq!(world.any().expire_uploads(day(6)).await, 0);
    assert!(world.any().upload(&id).await.is_ok());
    assert_eq!(world.any().expire_uploads(day(8)).await, 1);
    let gone = world.any().upload(&id).await;
    assert!(matches!(gone, Err(TransferError::Image(ImageError::NoUpload { .. }))), "{gone:?}");
    // The next one begins anew.
    world.begin().await;
}

/// A runtime of its own for each seed: the time in it is that of one schedule.
fn run_alone(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ended = runtime.block_on(async { tokio::spawn(run(seed)).await });
    assert!(ended.is_ok(), "RSNAP_SEED={seed}: {ended:?}");
}

#[test]
fn every_schedule_ends_with_the_right_snapshot() {
    if let Some(seed) = std::env::var("RSNAP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run_alone(seed);
    }
    let next = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        seed if seed < SCHEDULES => run_alone(seed),
                        _ => return,
                    }
                }
            });
        }
    });
}
