//! The path on which a plugin takes each chunk: bytes arrive whole, and the storage's faults and slowness are told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::support::{context, failure, loader, transfer, writer, writer_config};
use crate::buffer::BufferPool;
use crate::content::{BLOCK_BYTES, GrainMap};
use crate::image::{
    Committed, Fault, FaultStore, Identity, ImageError, ImageStore, MemoryStore, Moment, Operation, Sealed,
};
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{ChunkWriter, Context, Destination, Piece, PluginError, Writer};
use crate::quantity::Seconds;

async fn begin(writer: &dyn Writer) -> Box<dyn ChunkWriter> {
    match writer.begin(&transfer("t1")).await.unwrap() {
        Destination::Chunks(chunks) => chunks,
        Destination::Image(_) => panic!("not the path of chunks"),
    }
}

fn data(offset: u64, bytes: Vec<u8>) -> Piece {
    Piece::Data { offset, bytes: Bytes::from(bytes) }
}

fn with(store: impl ImageStore + 'static) -> Context {
    let mut context = context();
    context.stores.insert("main".parse().unwrap(), Arc::new(store));
    context
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_through_a_plugin_unchanged() {
    let store = MemoryStore::new();
    let writer = writer(with(store.clone()), "chunk-writer", "").await;
    let mut chunks = begin(&writer).await;
    let mut expected = vec![0; 4 << 20];
    let mut pieces = Vec::new();
    for (number, part) in expected.chunks_mut(10_007).enumerate() {
        let offset = number as u64 * 10_007;
        match number % 3 {
            0 => {
                part.iter_mut().zip(number..).for_each(|(byte, value)| *byte = value as u8);
                pieces.push(data(offset, part.to_vec()));
            }
            1 => pieces.push(Piece::Zero { offset, length: part.len() as u64 }),
            _ => pieces.push(data(offset, part.to_vec())),
        }
    }
    chunks.write(pieces).await.unwrap();
    let done = chunks.finish().await.unwrap().finish().await.unwrap();
    let sealed = Sealed {
        root: done.root,
        identity: Identity::default(),
        created: std::time::SystemTime::now(),
        issued: std::time::SystemTime::now(),
    };
    let committed = done.staged.commit(done.durable, sealed).await.unwrap();
    assert!(matches!(committed, Committed::New(_)));
    assert_eq!(read(&store).await, expected);
}

async fn read(store: &MemoryStore) -> Vec<u8> {
    let snapshot = store.open(&"volume-v1".parse().unwrap(), &"t1".parse().unwrap()).await.unwrap();
    let mut buffer = BufferPool::new(1).take().await;
    let mut bytes = Vec::new();
    for block in 0..snapshot.record().size.div_ceil(BLOCK_BYTES as u64) {
        snapshot.read(block, GrainMap::FULL, &mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_storage_is_told_as_such() {
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    let full = || ImageError::Full { detail: "on purpose".to_owned() };
    store.add(Operation::Write, Some(1), Moment::Before, Fault::Error(Box::new(full)));
    let writer = writer(with(store), "chunk-writer", "").await;
    let mut chunks = begin(&writer).await;
    let mut answers = Vec::new();
    for number in 0..16_u64 {
        answers.push(chunks.write(vec![data(number << 18, vec![1; 1 << 18])]).await);
    }
    let first = answers.into_iter().find(Result::is_err);
    assert!(matches!(first, Some(Err(PluginError::Image(ImageError::Full { .. })))), "{first:?}");
    assert_eq!(failure(chunks.finish().await), "it failed before in this transfer");
    assert!(matches!(writer.begin(&transfer("t2")).await, Ok(Destination::Chunks(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_storage_is_not_held_against_the_plugin_until_its_own_limit() {
    let store = FaultStore::new(Arc::new(MemoryStore::new()));
    store.add(Operation::Stage, Some(1), Moment::Before, Fault::Delay(Duration::from_secs(1)));
    store.add(Operation::Stage, Some(2), Moment::Before, Fault::Delay(Duration::from_secs(3)));
    let mut config = writer_config("chunk-writer", "");
    config.host_timeout = Seconds::new(2);
    let (guest, _) = loader(with(store)).component::<BackendWriter>(&config).await.unwrap();
    let writer = ComponentWriter(guest);
    let mut patient = begin(&writer).await;
    patient.write(vec![data(0, vec![1; 4096])]).await.unwrap();
    drop(patient);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let words = failure(writer.begin(&transfer("t2")).await);
    assert_eq!(words, "its calls to the host took longer than the limit of 2s");
    assert!(matches!(writer.begin(&transfer("t3")).await, Ok(Destination::Chunks(_))));
}
