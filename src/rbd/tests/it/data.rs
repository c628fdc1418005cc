//! Reading and writing.

use rsnap_rbd::{Kind, Mode};

use super::support::{MIB, Place, bytes, differences, write};

#[tokio::test]
async fn what_is_written_is_read() {
    let place = Place::new();
    let image = place.image("one", 10 * MIB + 100);
    write(&image, 5, vec![1; 100]).await;
    let buffers = vec![(vec![2; 10], 3..7), (vec![3; 1 << 20], 0..1 << 20), (vec![4; 9], 0..0)];
    image.write_vectored(4 * MIB - 2, buffers).await.unwrap();
    image.flush().await.unwrap();
    let reader = place.pool.open("one", Mode::ReadOnly, None).unwrap();
    assert_eq!(bytes(&reader, 0, 106).await, [&[0; 5][..], &[1; 100], &[0]].concat());
    assert_eq!(bytes(&reader, 4 * MIB - 3, 6).await, [0, 2, 2, 2, 2, 3]);
    assert_eq!(bytes(&reader, 5 * MIB + 1, 2).await, [3, 0]);
    assert_eq!(bytes(&reader, 10 * MIB, 4096).await.len(), 100, "more than the image has");
}

#[tokio::test]
async fn zeroes_reach_every_byte() {
    let place = Place::new();
    let image = place.image("one", 16 * MIB);
    write(&image, 0, vec![7; 16 << 20]).await;
    image.write_zeroes(4096, 8192).await.unwrap();
    image.write_zeroes(4 * MIB, 8 * MIB).await.unwrap();
    assert_eq!(bytes(&image, 4095, 8194).await, [&[7][..], &[0; 8192], &[7]].concat());
    assert!(bytes(&image, 4 * MIB, 8 << 20).await.iter().all(|byte| *byte == 0));
    let data: u64 = differences(&image, None, false).iter().filter(|extent| extent.2).map(|extent| extent.1).sum();
    assert_eq!(data, 8 * MIB, "the zeroes take space");
}

#[tokio::test]
async fn many_operations_run_at_once() {
    let place = Place::new();
    let image = place.image("one", 64 * MIB);
    let block = |number: u8| vec![number; 1 << 18];
    let writes = (0..=255).map(|number: u8| image.write(u64::from(number) << 18, block(number), 0..1 << 18));
    futures_util::future::try_join_all(writes).await.unwrap();
    let reads = (0..=255).map(|number: u8| image.read(u64::from(number) << 18, vec![0; 1 << 18]));
    let read = futures_util::future::try_join_all(reads).await.unwrap();
    for (number, (length, buffer)) in (0..=255).zip(read) {
        assert_eq!((length, buffer == block(number)), (1 << 18, true), "block {number}");
    }
}

#[tokio::test]
async fn a_dropped_future_does_not_free_the_buffer() {
    let place = Place::new();
    let image = place.image("one", 64 * MIB);
    for number in 0..64 {
        // Polled once, so that it is under way, and dropped.
        let mut write = std::pin::pin!(image.write(number * MIB, vec![9; 1 << 20], 0..1 << 20));
        let _ = futures_util::poll!(write.as_mut());
    }
    let mut read = Box::pin(image.read(0, vec![0; 4 << 20]));
    let _ = futures_util::poll!(read.as_mut());
    drop(read);
    image.close().unwrap();
    let image = place.pool.open("one", Mode::ReadOnly, None).unwrap();
    assert!(bytes(&image, 0, 64 << 20).await.iter().all(|byte| *byte == 9));
}

#[tokio::test]
async fn misuse_is_an_error() {
    let place = Place::new();
    let image = place.image("one", MIB);
    assert!(image.write(0, vec![1; 10], 5..11).await.is_err(), "a range outside of the buffer");
    assert!(image.write(MIB + 1, vec![1; 10], 0..10).await.is_err(), "behind the end");
    let reader = place.pool.open("one", Mode::ReadOnly, None).unwrap();
    let error = reader.write(0, vec![1; 10], 0..10).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ReadOnly, "{error}");
}
