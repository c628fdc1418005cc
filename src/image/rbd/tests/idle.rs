//! What happens to an unfinished transfer while nobody owns it, and would be proven by what its next owner adds.

use rsnap_rbd::Mode;

use super::uploads::{SIZE, Scene, THERE, feed, new};
use crate::image::cases::{content, id, image, transfer};
use crate::image::file::Dice;
use crate::image::{ImageError, ImageStore as _};

const MIB: usize = 1 << 20;

/// The next page of that block would have proven it.
#[tokio::test]
async fn what_somebody_writes_to_a_block_that_is_gone_on_with_is_noticed() {
    let (scene, upload) = Scene::new().await;
    upload.suspend().await;
    drop(upload);
    let theirs = scene.site.image(Mode::ReadWrite);
    theirs.write(4 * MIB as u64 + 100, vec![0x5a; 100], 0..100).await.unwrap();
    theirs.close().unwrap();
    let upload = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
    let refused = feed(&upload, THERE..SIZE, &new()).await;
    assert!(matches!(refused, Err(ImageError::UploadDamaged { .. })), "{refused:?}");
}

/// Half of it would be a change of the one, and half of the other.
#[tokio::test]
async fn a_base_that_was_sent_again_meanwhile_is_another_one() {
    let (scene, upload) = Scene::new().await;
    upload.suspend().await;
    drop(upload);
    scene.store.delete(&image(), &id(0)).await.unwrap();
    scene.bench.put(0, None, &content(&mut Dice(72), SIZE)).await.unwrap();
    let refused = scene.site.store().resume(&image(), &transfer(1)).await;
    assert!(matches!(refused, Err(ImageError::BaseChanged { .. })), "{refused:?}");
}
