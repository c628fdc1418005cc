//! Writers that do harm: the transfer fails, its image is free again, and the next transfer is served.

use std::sync::Arc;

use bytes::Bytes;

use super::support::{context, failure, transfer, writer, writer_config};
use crate::image::{ImageError, ImageStore, MemoryStore};
use crate::plugin::{ChunkWriter, Destination, Piece, PluginError, Writer};

fn settings(harm: &str) -> String {
    format!("harm = \"{harm}\"")
}

async fn assert_next_is_served(writer: &dyn Writer, after: &str) {
    let next = writer.begin(&transfer("good")).await;
    assert!(matches!(next, Ok(Destination::Image(_))), "after {after}: {:?}", next.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn harm_in_begin_fails_one_transfer() {
    let expected = [
        ("loop", "it ran longer than its limit of 1s"),
        ("trap", "it gave up (a panic, or `unreachable`)"),
        ("trap with image", "it gave up (a panic, or `unreachable`)"),
        (
            "other image",
            "it asked for the image main/volume-of-another, but the snapshots of volume v1 are in main/volume-v1",
        ),
        (
            "other store",
            "it asked for the image secret/volume-v1, but the snapshots of volume v1 are in main/volume-v1",
        ),
        ("impossible name", "\"../x\" is not a name for a snapshot"),
        ("no image", "it wants chunks and opened no image"),
        ("twice", "it opened an image a second time, or outside of begin"),
    ];
    for (harm, words) in expected {
        let writer = writer(context(), "hostile-writer", &settings(harm)).await;
        assert_eq!(failure(writer.begin(&transfer("bad")).await.map(drop)), words, "{harm}");
        assert_next_is_served(&writer, harm).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_frees_the_image() {
    let writer = writer(context(), "hostile-writer", &settings("refusal")).await;
    let answer = writer.begin(&transfer("bad")).await;
    assert!(matches!(answer, Err(PluginError::Refused { detail, .. }) if detail == "not today"));
    assert_next_is_served(&writer, "refusal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_not_granted_stops_the_start() {
    let config = crate::plugin::Config {
        writer: writer_config("hostile-writer", "harm = \"none\"\nstore = \"secret\""),
        ..crate::plugin::Config::default()
    };
    let error = crate::plugin::Plugins::load(&config, context()).await.unwrap_err();
    assert_eq!(error.fault, "it names the store secret, which is not granted to it");
    let impossible = writer(context(), "hostile-writer", &settings("impossible image")).await;
    let words = failure(impossible.locate(&"v1".parse().unwrap()).await);
    assert!(words.starts_with("it names an impossible place"), "{words}");
}

fn data(offset: u64, bytes: usize) -> Piece {
    Piece::Data { offset, bytes: Bytes::from(vec![1; bytes]) }
}

async fn begin(writer: &dyn Writer) -> Box<dyn ChunkWriter> {
    match writer.begin(&transfer("bad")).await {
        Ok(Destination::Chunks(chunks)) => chunks,
        Ok(Destination::Image(_)) => panic!("not the path of chunks"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn harm_in_write_fails_one_transfer() {
    let expected = [
        ("loop in write", "it ran longer than its limit of 1s"),
        ("trap in write", "it gave up (a panic, or `unreachable`)"),
        ("storage calls", "it called the storage more than 1000 times in one call"),
        ("open late", "it opened an image a second time, or outside of begin"),
        ("forged handle", "unknown handle index 4242"),
        (
            "handle of another kind",
            "handle index 1 used with the wrong type, expected guest-defined resource but found a different guest-defined \
             resource",
        ),
        ("dropped twice", "unknown handle index 2"),
        ("huge list", "it handed over more than 1MiB in one call"),
    ];
    for (harm, words) in expected {
        let writer = writer(context(), "hostile-writer", &settings(harm)).await;
        let mut chunks = begin(&writer).await;
        assert_eq!(failure(chunks.write(vec![data(0, 4096)]).await), words, "{harm}");
        assert_eq!(failure(chunks.write(vec![data(4096, 4096)]).await), "it failed before in this transfer");
        assert_eq!(failure(chunks.finish().await), "it failed before in this transfer");
        assert_next_is_served(&writer, harm).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_cannot_be_hoarded() {
    let writer = writer(context(), "hostile-writer", &settings("hoard")).await;
    let mut chunks = begin(&writer).await;
    chunks.write((0..8).map(|number| data(number << 20, 1 << 20)).collect()).await.unwrap();
    let words = failure(chunks.write(vec![data(8 << 20, 1)]).await);
    assert_eq!(words, "it keeps more than 8388608 bytes of chunks");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_in_write_is_an_answer() {
    let writer = writer(context(), "hostile-writer", &settings("refusal in write")).await;
    let answer = begin(&writer).await.write(vec![data(0, 4096)]).await;
    assert!(matches!(answer, Err(PluginError::Unavailable { detail, .. }) if detail == "not today"));
    assert_next_is_served(&writer, "refusal in write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_storage_is_told_as_such_whatever_the_guest_makes_of_it() {
    for harm in ["none", "swallow"] {
        let mut context = context();
        let store = MemoryStore::new();
        context.stores.insert("main".parse().unwrap(), Arc::new(store.clone()));
        let writer = writer(context, "hostile-writer", &settings(harm)).await;
        let _busy = store.stage(stage_request()).await.unwrap();
        let answer = writer.begin(&transfer("bad")).await.map(drop);
        assert!(matches!(answer, Err(PluginError::Image(ImageError::Busy { .. }))), "{harm}: {answer:?}");
    }
}

fn stage_request() -> crate::image::StageRequest {
    crate::image::StageRequest {
        transfer: "other".parse().unwrap(),
        volume: "v1".parse().unwrap(),
        snapshot: "other".parse().unwrap(),
        image: "volume-v1".parse().unwrap(),
        name: "snapshot-other".parse().unwrap(),
        size: 4096,
        base: None,
        upload: None,
    }
}
