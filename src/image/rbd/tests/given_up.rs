//! Unfinished transfers that somebody gives up while another one goes on with them, and those that a newer gateway began.

use std::time::{Duration, SystemTime};

use rsnap_rbd::Mode;

use super::uploads::{SIZE, STEPS, Scene, THERE, feed, finish, new, old};
use crate::image::cases::{image, transfer};
use crate::image::rbd::record::{Upload, upload_key};
use crate::image::record::{Body, seal, unseal};
use crate::image::{ImageError, ImageStore as _};

/// Whoever gave it up was told that nothing comes of it, in whichever moment of a takeover that was.
#[tokio::test]
async fn what_is_given_up_during_a_takeover_stays_given_up() {
    for step in STEPS {
        let scene = Scene::idle().await;
        let (next, other) = (scene.site.store(), scene.site.store());
        next.shared.deaths.meanwhile(step, move || {
            assert!(other.shared.give_up(&image(), &transfer(1)).unwrap());
        });
        if let Ok(upload) = next.resume(&image(), &transfer(1)).await {
            let fed = feed(&upload, THERE..SIZE, &new()).await;
            let refused = match fed {
                Ok(()) => finish(&upload, &new()).await.map(drop),
                Err(error) => Err(error),
            };
            assert!(matches!(refused, Err(ImageError::Fenced)), "{step:?}: {refused:?}");
            upload.suspend().await;
        }
        assert!(scene.store.uploads(&image()).await.unwrap().is_empty(), "{step:?}");
        scene.bench.put(1, Some((0, &old())), &new()).await.unwrap();
        scene.bench.check(1, &new()).await;
        assert_eq!(scene.left().await, Vec::<String>::new(), "{step:?}");
    }
}

/// A gateway of an older release meets records of a newer one while a site is upgraded.
#[tokio::test]
async fn what_a_newer_gateway_began_is_left_to_it() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Newer {
        #[serde(flatten)]
        upload: Upload,
        more: u64,
    }
    impl Body for Newer {
        const KIND: &'static str = Upload::KIND;
    }
    let scene = Scene::idle().await;
    let key = upload_key(&transfer(1));
    let theirs = scene.site.image(Mode::ReadWrite);
    let text = theirs.metadata(&key).unwrap().unwrap();
    let newer = Newer { upload: unseal(text.as_bytes()).unwrap(), more: 1 };
    theirs.set_metadata(&key, &String::from_utf8(seal(&newer).unwrap()).unwrap()).unwrap();
    theirs.close().unwrap();
    assert_eq!(scene.store.expire(SystemTime::now() - Duration::from_secs(3600)).await.unwrap(), 0);
    let theirs = scene.site.image(Mode::ReadWrite);
    theirs.set_metadata(&key, &text).unwrap();
    theirs.close().unwrap();
    scene.go_on(THERE).await;
}
