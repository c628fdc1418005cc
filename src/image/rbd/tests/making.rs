//! Images that somebody began to make: he died, he lives, or he is a stranger.

use std::sync::Arc;
use std::time::Duration;

use rsnap_rbd::{Cluster, Kind, Mode, Pool};

use super::child::Writer;
use super::support::{POOL, Site, site};
use crate::image::ImageError;
use crate::image::ImageStore as _;
use crate::image::blocking::blocking;
use crate::image::cases::{content, image, request};
use crate::image::file::Dice;
use crate::image::rbd::making::MAKERS;
use crate::image::rbd::session::Session;

const SIZE: usize = 3 << 20;

/// What a death leaves of an image.
#[derive(Debug, Clone, Copy)]
enum Half {
    /// Not even the id is in it.
    Name,
    Id,
    /// The id, and the entry in the directory.
    Entry,
    /// All but the object map: it can be opened.
    Header,
}

/// Half an image, as librbd makes it step by step.
fn half_made(site: &Site, half: Half) {
    let rados = format!("rados -p {POOL} -N {}", site.namespace);
    if let Half::Name = half {
        site.cluster.shell(&format!("{rados} create rbd_id.{}", image())).unwrap();
        return;
    }
    site.cluster.rbd(&["create", "--size", "3M", &site.name("")]).unwrap();
    let id = site.image(Mode::ReadOnly).id().unwrap();
    let mut script = format!("{rados} rm rbd_object_map.{id}");
    if !matches!(half, Half::Header) {
        script += &format!(" && {rados} rm rbd_header.{id}");
    }
    if matches!(half, Half::Id) {
        script +=
            &format!(" && {rados} rmomapkey rbd_directory name_{} && {rados} rmomapkey rbd_directory id_{id}", image());
    }
    site.cluster.shell(&script).unwrap();
}

fn lock() -> String {
    format!("{MAKERS}{}", image())
}

/// A maker that does nothing any more, and is not known to be dead.
fn silent_maker(site: &Site) -> (Cluster, Pool) {
    let client = site.client();
    let pool = client.pool(POOL, Some(&site.namespace)).unwrap();
    pool.lock_object(&lock()).unwrap();
    (client, pool)
}

async fn is_made(site: &Site, case: &str) {
    let bench = site.bench();
    let all = content(&mut Dice(70), SIZE);
    bench.put(0, None, &all).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    bench.check(0, &all).await;
    assert_eq!(site.exported("snapshot-0"), all, "{case}");
}

#[tokio::test]
async fn what_a_dead_maker_left_is_made_anew() {
    for half in [Half::Name, Half::Id, Half::Entry, Half::Header] {
        let site = site();
        let (client, pool) = silent_maker(&site);
        half_made(&site, half);
        is_made(&site, &format!("{half:?}")).await;
        if matches!(half, Half::Header) {
            assert_eq!(site.store().sweep().await.unwrap(), 1, "the lock is of no use any more");
        } else {
            assert_eq!(pool.lock_object("any").unwrap_err().kind(), Kind::Blocklisted, "{half:?}");
        }
        assert_eq!(site.objects(MAKERS), Vec::<String>::new(), "{half:?}");
        drop(client);
    }
}

#[tokio::test]
async fn a_maker_that_died_before_its_first_step_is_in_nobodys_way() {
    let site = site();
    let _silent = silent_maker(&site);
    is_made(&site, "nothing there").await;
    assert_eq!(site.objects(MAKERS), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_stranger_has_half_made_is_left_to_him() {
    for half in [Half::Id, Half::Entry] {
        let site = site();
        half_made(&site, half);
        let before = site.objects("rbd_");
        let refused = site.store().stage(request(0, None, SIZE)).await.unwrap_err();
        assert!(matches!(refused, ImageError::Foreign { .. }), "{half:?}: {refused:?}");
        assert!(refused.to_string().contains("rbd rm"), "{half:?}: {refused}");
        assert_eq!(site.objects("rbd_"), before, "{half:?}");
        // The remedy; `rbd` complains where there was only an id, and removes it.
        drop(site.cluster.rbd(&["rm", "--no-progress", &site.name("")]));
        is_made(&site, &format!("{half:?}")).await;
    }
}

#[tokio::test]
async fn a_maker_that_lives_is_waited_for() {
    let site = site();
    let (client, pool) = silent_maker(&site);
    let store = site.store();
    let waiting = tokio::spawn(async move { store.stage(request(0, None, SIZE)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.cluster.rbd(&["create", "--size", "3M", &site.name("")]).unwrap();
    pool.remove(&lock()).await.unwrap();
    waiting.await.unwrap().unwrap().abort().await;
    pool.write_full("alive", vec![1]).await.unwrap();
    drop(client);
}

/// SIGKILL at many moments until enough died in the middle, each time somewhere else: the next one makes it.
#[tokio::test]
async fn a_maker_may_die_at_any_moment() {
    let mut half = 0;
    for moment in (0..8).cycle().take(80) {
        let site = site();
        let pool = site.pool();
        let mut maker = Writer::start(&site);
        maker.tell("make 1");
        while pool.object_locker(&lock()).unwrap().is_none() {}
        std::thread::sleep(Duration::from_micros(500 * moment));
        maker.kill();
        let opened = pool.open(image().as_str(), Mode::ReadOnly, None);
        if opened.is_err_and(|error| error.kind() == Kind::NotFound) {
            half += 1;
            is_made(&site, &format!("dead after half of {moment} ms")).await;
            assert_eq!(site.objects(MAKERS), Vec::<String>::new(), "{moment}");
        }
        if half == 6 {
            return;
        }
    }
    panic!("only {half} died in the middle: this shows little");
}

#[tokio::test]
async fn many_may_make_it_at_once() {
    let site = site();
    let open = |_| {
        let shared = Arc::clone(&site.store().shared);
        tokio::spawn(blocking(move || {
            Session::open(&shared, &image(), Some(SIZE as u64)).map(|session| session.id.clone())
        }))
    };
    let makers: Vec<_> = (0..8).map(open).collect();
    let mut ids = Vec::new();
    for maker in makers {
        ids.push(maker.await.unwrap().unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(site.objects(MAKERS), Vec::<String>::new());
    is_made(&site, "afterwards").await;
}
