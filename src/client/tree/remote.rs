//! The tree of a snapshot that a gateway holds.
//!
//! The way may be long: pages are asked for by the thousand, in several requests at a time, and the levels above the
//! image, which have a page or a few each, in the first request. What came unasked is kept until its parent proves it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::HeaderMap;

use super::{Tree, Wanted, proven, proven_top};
use crate::api::SnapshotAnswer;
use crate::client::gateway::snapshot_path;
use crate::client::send::next_wait;
use crate::client::{ClientError, Gateway, Meter, Permission};
use crate::content::{HEIGHT, Page, Place, Root};
use crate::id::{SnapshotId, VolumeId};
use crate::retry::Backoff;

/// Most pages in one request, which is the gateway's own bound.
const PAGES: usize = 2048;
/// Longest list of pages in one request, in characters: a request line must pass through proxies.
const LIST: usize = 6000;
/// Requests at once.
const AT_ONCE: usize = 4;
/// A level with at most this many pages is asked for before it is known which of them differ.
const FEW: u64 = 16;

/// See the module's text.
#[derive(Debug)]
pub struct RemoteTree {
    gateway: Gateway,
    volume: VolumeId,
    snapshot: SnapshotId,
    record: SnapshotAnswer,
    root: Root,
    backoff: Backoff,
    /// The gateway that a ticket was got for.
    ticketed: tokio::sync::Mutex<Option<Gateway>>,
    /// Pages that came before they were wanted, not proven yet.
    early: Mutex<HashMap<Place, Page>>,
    meter: Arc<Meter>,
}

impl RemoteTree {
    /// Finds the snapshot. `meter` counts what goes over the network.
    pub(in crate::client) async fn open(
        gateway: Gateway,
        volume: VolumeId,
        snapshot: SnapshotId,
        backoff: Backoff,
        meter: Arc<Meter>,
    ) -> Result<Self, ClientError> {
        let record = gateway.find(&volume, &snapshot).await?;
        let root = record.root.parse().map_err(|fault| ClientError::Protocol(format!("its root: {fault}")))?;
        let (ticketed, early) = (tokio::sync::Mutex::default(), Mutex::default());
        Ok(Self { gateway, volume, snapshot, record, root, backoff, ticketed, early, meter })
    }

    /// The gateway's id of the snapshot.
    pub(in crate::client) fn snapshot(&self) -> &str {
        self.snapshot.as_str()
    }

    /// Pages as the gateway sends them, with retries.
    async fn fetch(&self, places: &[Place]) -> Result<Vec<Page>, ClientError> {
        let mut retry = 0;
        loop {
            let error = match self.ask(places).await {
                Ok(pages) => return Ok(pages),
                Err(error) => error,
            };
            retry += 1;
            let Some(wait) = next_wait(&error, self.backoff, retry) else { return Err(error) };
            self.ticketed.lock().await.take();
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask(&self, places: &[Place]) -> Result<Vec<Page>, ClientError> {
        let gateway = self.ticketed().await?;
        let listed: Vec<(u8, u64)> = places.iter().map(|place| (place.level(), place.index())).collect();
        let list = rsnap_wire::pages::format(&listed);
        let path = format!("{}/tree?pages={list}", snapshot_path(&self.volume, &self.snapshot));
        let answer = gateway.get(&path, HeaderMap::new()).await?;
        let body = answer.document(places.len() * Page::BYTES).await?;
        self.meter.count((path.len() + body.len()) as u64);
        let (pages, rest) = body.as_chunks::<{ Page::BYTES }>();
        if pages.len() != places.len() || !rest.is_empty() {
            let text = format!("{} bytes came for {} pages", body.len(), places.len());
            return Err(ClientError::Protocol(text));
        }
        Ok(pages.iter().map(Page::from_bytes).collect())
    }

    /// The gateway to read from, by a ticket that is kept until it fails.
    async fn ticketed(&self) -> Result<Gateway, ClientError> {
        let mut known = self.ticketed.lock().await;
        if let Some(gateway) = &*known {
            return Ok(gateway.clone());
        }
        let (volume, snapshots) = (self.volume.clone(), vec![self.snapshot.clone()]);
        let wish = Permission { volume, snapshots, size: self.record.size };
        let gateway = self.gateway.ticket(&wish).await?.gateway;
        *known = Some(gateway.clone());
        Ok(gateway)
    }

    fn take_early(&self, place: Place) -> Option<Page> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner).remove(&place)
    }
}

#[async_trait]
impl Tree for RemoteTree {
    fn size(&self) -> u64 {
        self.record.size
    }

    fn root(&self) -> Root {
        self.root
    }

    async fn top(&self) -> Result<Page, ClientError> {
        let places = few(self.record.size);
        let pages = self.fetch(&places).await?;
        let mut early: HashMap<Place, Page> = places.into_iter().zip(pages).collect();
        let top = early.remove(&Place::TOP).unwrap_or_default();
        *self.early.lock().unwrap_or_else(PoisonError::into_inner) = early;
        proven_top(top, self.record.size, self.root)
    }

    async fn pages(&self, wanted: &[Wanted]) -> Result<Vec<Page>, ClientError> {
        let mut known: Vec<Option<Page>> = wanted.iter().map(|wanted| self.take_early(wanted.place)).collect();
        let missing: Vec<Place> =
            wanted.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(wanted, _)| wanted.place).collect();
        let requests: Vec<Vec<Place>> = requests(&missing).into_iter().map(<[Place]>::to_vec).collect();
        let requests = requests.into_iter().map(|places| async move { self.fetch(&places).await });
        let fetched: Vec<Vec<Page>> = stream::iter(requests).buffered(AT_ONCE).try_collect().await?;
        let mut fetched = fetched.into_iter().flatten();
        let found = wanted.iter().zip(&mut known).map(|(wanted, known)| {
            let page = known.take().or_else(|| fetched.next()).unwrap_or_default();
            proven(page, wanted)
        });
        found.collect()
    }
}

/// The pages of all levels that have only a few, the top first.
fn few(size: u64) -> Vec<Place> {
    let mut places = Vec::new();
    for level in (1..=HEIGHT).rev() {
        let pages = size.div_ceil(1 << (16 + 4 * u32::from(level))).max(1);
        if pages > FEW {
            break;
        }
        places.extend((0..pages).filter_map(|index| Place::new(level, index)));
    }
    places
}

/// Cut into requests that a gateway takes.
fn requests(places: &[Place]) -> Vec<&[Place]> {
    let mut requests = Vec::new();
    let (mut start, mut length) = (0, 0);
    for (position, place) in places.iter().enumerate() {
        // As if no neighbours were there, which only makes a list shorter.
        let characters = place.index().checked_ilog10().unwrap_or(0) as usize + 2;
        if position - start >= PAGES || length + characters > LIST {
            requests.extend(places.get(start..position));
            (start, length) = (position, 0);
        }
        length += characters;
    }
    requests.extend(places.get(start..).filter(|rest| !rest.is_empty()));
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_and_lose_nothing() {
        let dense: Vec<Place> = (0..5000).filter_map(|index| Place::new(1, index)).collect();
        let sparse: Vec<Place> = (0..5000).filter_map(|index| Place::new(1, index * 9_999_999)).collect();
        for places in [dense, sparse] {
            let cut = requests(&places);
            assert_eq!(cut.concat(), places);
            for request in cut {
                let list: Vec<_> = request.iter().map(|place| (place.level(), place.index())).collect();
                assert!(request.len() <= PAGES && rsnap_wire::pages::format(&list).len() <= LIST + 10);
            }
        }
        assert!(requests(&[]).is_empty());
    }

    #[test]
    fn a_small_image_is_known_after_one_request() {
        assert_eq!(few(1).len(), 10);
        let terabyte = few(1 << 40);
        assert_eq!((terabyte.first(), terabyte.len()), (Some(&Place::TOP), 5 + 16));
    }
}
